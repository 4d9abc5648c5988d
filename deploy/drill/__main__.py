"""``python -m deploy.drill``: exits with 0 if the federation withstood it, and with 1 otherwise."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from deploy.drill.drill import Drill
from deploy.drill.processes import DrillError
from deploy.drill.scenario import SCENARIOS


def interrupted(number: int, _: FrameType | None) -> None:
    """End in the same way as by Ctrl-C, so that all processes are ended first."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.drill", description=__doc__)
    parser.add_argument("--api", choices=("message", "legacy"), default="message")
    parser.add_argument(
        "--short", action="store_true", help="take 7 nodes and 6 rounds, and kill no node"
    )
    parser.add_argument(
        "--no-door",
        action="store_true",
        help="let nodes reach the SuperLink directly, without nginx",
    )
    parser.add_argument(
        "--limit", type=float, default=900.0, help="the most seconds that it may take"
    )
    parser.add_argument("--keep", type=Path, help="an empty folder to keep keys and logs in")
    arguments = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    scenario = SCENARIOS["short" if arguments.short else "full"]
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        folder = (arguments.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            door = not arguments.no_door
            findings = Drill(scenario, arguments.api, folder, _print, arguments.limit, door).run()
        except (DrillError, KeyboardInterrupt) as error:
            print(f"FAILED: {error or 'interrupted'}", file=sys.stderr)
            return 1
    for finding in findings:
        print(f"  {finding}")
    print("PASSED")
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
