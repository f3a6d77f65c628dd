"""Data files to Examples: one set of readers for every command."""

from komrc.data.checks import ASKING, EVALUATING, EVERYTHING, PREDICTING, REPORTING, SCORING, TRAINING, Needs
from komrc.data.hf_datasets import from_dataset, to_dataset
from komrc.data.korquad2 import Page, load_korquad2
from komrc.data.predictions import read_nbest, read_passages, read_predictions
from komrc.data.read import Counts, Loaded, load_squad, read_data, scan_data
from komrc.data.strict_json import Document, read_json

__all__ = [
    "ASKING",
    "EVALUATING",
    "EVERYTHING",
    "PREDICTING",
    "REPORTING",
    "SCORING",
    "TRAINING",
    "Counts",
    "Document",
    "Loaded",
    "Needs",
    "Page",
    "from_dataset",
    "load_korquad2",
    "load_squad",
    "read_data",
    "read_json",
    "read_nbest",
    "read_passages",
    "read_predictions",
    "scan_data",
    "to_dataset",
]
