"""Score predictions as the official KorQuAD 2.0 script does: see ``komrc.compat.evaluate_2_0``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from komrc.compat.evaluate_2_0 import main

if __name__ == "__main__":
    sys.exit(main())
