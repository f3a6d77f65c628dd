"""Fine-tune and evaluate with the flags of 2020: see ``komrc.compat.run_squad``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from komrc.compat.run_squad import main

if __name__ == "__main__":
    sys.exit(main())
