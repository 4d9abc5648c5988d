"""``python -m simulations.demo``: the demonstration without the rest of the simulations, which need torch."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from simulations.demo.show import demo


def main() -> int:
    """Run the demonstration. The exit code is 0 if it shows what it should."""
    parser = argparse.ArgumentParser(prog="python -m simulations.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="(default: runs/demo)")
    parser.add_argument("--verbose", action="store_true", help="show what Flower and Ray log")
    arguments = parser.parse_args()
    console = Console()
    try:
        return 0 if demo(arguments.out, console, arguments.verbose) else 1
    except Exception as error:
        if arguments.verbose:
            raise
        console.print(f"[red]{escape(first_cause(error))}[/red]", "--verbose shows more.", sep="\n")
        return 1


def first_cause(error: BaseException) -> str:
    """Say what caused an error. The engine wraps Ray's errors several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
