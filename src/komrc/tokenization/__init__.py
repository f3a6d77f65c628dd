"""Text to token ids with exact code-point offsets into the raw text."""

from komrc.tokenization.fit import check_fit, check_reads
from komrc.tokenization.loading import load_tokenizer
from komrc.tokenization.reader_tokenizer import ReaderTokenizer
from komrc.tokenization.template import PairTemplate

__all__ = ["PairTemplate", "ReaderTokenizer", "check_fit", "check_reads", "load_tokenizer"]
