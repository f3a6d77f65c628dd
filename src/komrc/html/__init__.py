"""HTML documents as text for the encoder, with the place of every character in the HTML."""

from komrc.html.view import Block, HtmlView

__all__ = ["Block", "HtmlView"]
