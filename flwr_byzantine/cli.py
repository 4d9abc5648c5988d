"""``python -m flwr_byzantine``: tools for who runs a federation."""

import argparse
import sys
from collections.abc import Sequence

from flwr_byzantine.audit import read_audit, table


def audit(arguments: argparse.Namespace) -> int:
    """Print who was rejected how often."""
    try:
        records, unreadable = read_audit(arguments.file)
    except OSError as error:
        print(f"Cannot read the audit log: {error}", file=sys.stderr)
        return 2
    if unreadable:
        print(f"{unreadable} lines are no audit records and are left out", file=sys.stderr)
    if not records:
        print(f"{arguments.file} holds no audit records", file=sys.stderr)
        return 2
    for line in table(records):
        print(line)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Print whether the installation works."""
    from flwr_byzantine.doctor import report

    return report()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flwr_byzantine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser("audit", help="who was rejected how often")
    command.add_argument("file", help="a file written with `audit_log=`")
    command.set_defaults(function=audit)
    command = commands.add_parser("doctor", help="whether the installation works")
    command.set_defaults(function=doctor)
    arguments = parser.parse_args(argv)
    result: int = arguments.function(arguments)
    return result
