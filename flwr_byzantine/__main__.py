"""``python -m flwr_byzantine``: the command line."""

import sys

from flwr_byzantine.commands.cli import main

sys.exit(main())
