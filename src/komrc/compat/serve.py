"""The 2020 command: ``python3 serve.py serve --task question-answering --model models --tokenizer models``.

The same as ``komrc serve``, from a checkout.
"""

import sys
from pathlib import Path

try:
    from komrc.cli import main
except ModuleNotFoundError as error:
    if error.name != "komrc":
        raise
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))
    from komrc.cli import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(arguments if arguments[:1] == ["serve"] else ["serve", *arguments]))
