"""Encoders with a span head and a boundary head; the only place with Hugging Face's weight names."""

from komrc.modeling.span_reader import SpanReader

__all__ = ["SpanReader"]
