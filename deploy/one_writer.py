"""``flower-superlink`` with one database transaction at a time: what ``superlink.sh`` starts.

A SuperLink keeps its state in SQLite, where one transaction writes at a time. Each thread of Flower 1.41 asks
for its turn again and again, out of order, and gives up after 5 seconds with "database is locked". Then the
request fails, and a node's reply is lost. Here the threads wait in line. Nobody else writes to the database.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any


def wait_in_line(database: Any) -> None:
    """Have the sessions of a class of databases wait for each other, in all threads of this process."""
    session = database.session
    line = threading.RLock()  # a session may be opened within another one of the same thread

    @contextmanager
    def waiting(self: Any) -> Iterator[Any]:
        with line, session(self) as opened:
            yield opened

    database.session = waiting


def main() -> None:
    """Run ``flower-superlink``."""
    try:
        from flwr.supercore.sql_mixin import SqlMixin

        wait_in_line(SqlMixin)
    except (ImportError, AttributeError) as error:
        print(
            f"This Flower keeps its state in another way ({error}). "
            "Watch its log for `database is locked`.",
            file=sys.stderr,
        )
    (command,) = entry_points(group="console_scripts", name="flower-superlink")
    sys.argv[0] = command.name
    sys.exit(command.load()())


if __name__ == "__main__":
    main()
