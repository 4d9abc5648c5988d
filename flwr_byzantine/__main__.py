"""``python -m flwr_byzantine``: the command line."""

import sys

from flwr_byzantine.cli import main

sys.exit(main())
