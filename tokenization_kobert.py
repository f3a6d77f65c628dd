"""The module name of 2020, so that ``from tokenization_kobert import KoBertTokenizer`` still works."""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("komrc") is None:  # run from a checkout where nothing is installed
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from komrc.tokenization.kobert import KoBertTokenizer

__all__ = ["KoBertTokenizer"]
