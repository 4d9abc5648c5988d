"""``python -m simulations.demo``: the demonstration without the rest of the simulations, which need torch."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from simulations.demo.show import demo


def main() -> int:
    """Run it; the exit code is 0 if it shows what it should."""
    parser = argparse.ArgumentParser(prog="python -m simulations.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="(default: runs/demo)")
    parser.add_argument("--verbose", action="store_true", help="show what Flower and Ray log")
    arguments = parser.parse_args()
    return 0 if demo(arguments.out, Console(), arguments.verbose) else 1


if __name__ == "__main__":
    sys.exit(main())
