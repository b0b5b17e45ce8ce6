"""Run the command line with ``python -m crossrec``."""

import sys

from crossrec.cli import main

sys.exit(main())
