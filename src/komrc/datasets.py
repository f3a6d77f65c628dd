"""The former place of the data readers, kept for one version: use ``komrc.load_squad`` or ``komrc.data``."""

from komrc.data import load_squad, read_json

__all__ = ["load_squad", "read_json"]
