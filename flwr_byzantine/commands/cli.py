"""``python -m flwr_byzantine``: tools for who runs a federation."""

import argparse
import sys
from collections.abc import Sequence

from flwr_byzantine.audit import table
from flwr_byzantine.audit.file import read_lines, without_repeated

NOTE = (
    "Only `dropped` is a fact about a client. `trimmed` and `not selected` are no evidence against it: a "
    "rule leaves somebody out in every round."
)


def audit(arguments: argparse.Namespace) -> int:
    """Print what became of each client's replies."""
    try:
        written, unreadable = read_lines(arguments.file)
    except OSError as error:
        print(f"Cannot read the audit log: {error}", file=sys.stderr)
        return 2
    if unreadable:
        print(f"{unreadable} lines are no audit records and are left out", file=sys.stderr)
    records = without_repeated(written)
    if len(records) < len(written):
        repeated = len(written) - len(records)
        print(
            f"{repeated} records are left out: a later start repeated their rounds", file=sys.stderr
        )
    if not records:
        print(f"{arguments.file} holds no audit records", file=sys.stderr)
        return 2
    for line in table(records):
        print(line)
    print(NOTE, file=sys.stderr)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Print whether the installation works."""
    from flwr_byzantine.commands.doctor import report

    return report()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flwr_byzantine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("audit", help="what became of each client's replies")
    command.add_argument("file", help="a file written with `audit_log=`")
    command.set_defaults(function=audit)
    command = commands.add_parser("doctor", help="whether the installation works")
    command.set_defaults(function=doctor)
    arguments = parser.parse_args(argv)
    result: int = arguments.function(arguments)
    return result
