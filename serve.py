"""The server with the command of 2020: see ``komrc.compat.serve``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from komrc.compat.serve import main

if __name__ == "__main__":
    sys.exit(main())
