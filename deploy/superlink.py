"""``superlink.sh`` starts this program: ``flower-superlink``, with two faults of Flower 1.41 mended.

A node can speak only in its own name. Flower checks whose key signed a request, but believes the sender that
the message names. So without this, a node that knows another node's id can answer for it, and can send it
work as if it were the SuperLink. It can also take the work of another node away.

Threads that write to the database wait in line. SQLite lets one transaction write at a time. Without this,
each thread of Flower asks for its turn again and again, out of order, and gives up after 5 s with "database
is locked". Then the request fails, and a node's reply is lost. Only the SuperLink writes to its database.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from logging import WARNING
from typing import Any


def wait_in_line(database: Any) -> None:
    """Make the sessions of a database class wait for each other, in all threads of this process."""
    session = database.session
    line = threading.RLock()  # a thread may open a session within another session

    @contextmanager
    def waiting(self: Any) -> Iterator[Any]:
        with line, session(self) as opened:
            yield opened

    database.session = waiting


def speak_for_yourself(handlers: Any) -> None:
    """Make the handlers of the Fleet API refuse what a node says or does in another node's name."""
    push, confirm = handlers.push_messages, handlers.confirm_message_received

    def push_own(request: Any, state: Any) -> Any:
        for message in request.messages_list:
            if message.metadata.src_node_id != request.node.node_id:
                _refuse(request.node.node_id, f"sent a message as {message.metadata.src_node_id}")
        return push(request=request, state=state)

    def confirm_own(request: Any, state: Any, store: Any) -> Any:
        message = state.get_valid_message_ins(request.message_object_id)
        if message is not None:
            receiver = message["dst_node_id"] % 2**64  # SQLite's numbers have a sign
            if receiver != request.node.node_id:
                _refuse(request.node.node_id, f"confirmed a message to {receiver}")
        return confirm(request=request, state=state, store=store)

    handlers.push_messages, handlers.confirm_message_received = push_own, confirm_own


def _refuse(node_id: int, what: str) -> None:
    from fastapi import HTTPException
    from flwr.supercore import log

    log(WARNING, "Node %s %s: refused.", node_id, what)
    raise HTTPException(401, "Invalid SuperNode authentication")


def _mend(apply: Callable[[Any], None], place: Callable[[], Any], lost: str) -> None:
    try:
        apply(place())
    except (ImportError, AttributeError) as error:
        print(f"WARNING: This is another version of Flower ({error}). {lost}", file=sys.stderr)


def _handlers() -> Any:
    from flwr.superlink.servicer.fleet import fleet_handlers

    return fleet_handlers


def _database() -> Any:
    from flwr.supercore.sql_mixin import SqlMixin

    return SqlMixin


def main() -> None:
    """Run ``flower-superlink``."""
    _mend(
        speak_for_yourself, _handlers, "Nodes that know each other's ids may answer for each other."
    )
    _mend(wait_in_line, _database, "Watch its log for `database is locked`.")
    (command,) = entry_points(group="console_scripts", name="flower-superlink")
    sys.argv[0] = command.name
    sys.exit(command.load()())


if __name__ == "__main__":
    main()
