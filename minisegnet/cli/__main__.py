"""``python -m minisegnet.cli``."""

import sys

from . import main

sys.exit(main())
