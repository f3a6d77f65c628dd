"""``serve.py``: the server with the command of 2020.

    python3 serve.py serve --task question-answering --model models --tokenizer models

is the same as ``komrc serve`` with these options; ``komrc serve`` understands the flags of 2020.
"""

from __future__ import annotations

import sys

from komrc import cli


def main() -> int:
    """Serve; returns the exit code. The word ``serve`` may be left out."""
    arguments = sys.argv[1:]
    return cli.main(arguments if arguments[:1] == ["serve"] else ["serve", *arguments])
