"""``python -m komrc``."""

import sys

from komrc.cli import main

sys.exit(main())
