"""HTML documents as text for the encoder, with the place of every character in the HTML."""

from komrc.html.answers import HtmlAnswer, html_answer
from komrc.html.view import Block, HtmlView

__all__ = ["Block", "HtmlAnswer", "HtmlView", "html_answer"]
