"""The grid of an in-process simulation: answers sooner, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

POLL = 0.02  # seconds; Flower's own in-memory grid looks for replies every 0.1


class PromptGrid(Grid):
    """Pass everything on to another grid, but wait for replies more attentively.

    Parameters
    ----------
    grid : Grid
        The grid that does the work.
    stopped : threading.Event
        Once set, waiting for replies raises InterruptedError: a server whose simulation has died
        or been interrupted would otherwise wait for an hour.
    """

    def __init__(self, grid: Grid, stopped: threading.Event) -> None:
        self.grid = grid
        self.stopped = stopped

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self.grid.set_run(run)

    @property
    def run(self) -> Run:
        """Run information."""
        return self.grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message."""
        return self.grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs."""
        return self.grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        return self.grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, or for the timeout in seconds."""
        waiting = set(self.push_messages(messages))
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (end is None or time.monotonic() < end):
            if self.stopped.wait(POLL):
                raise InterruptedError("The simulation ended while the server awaited replies.")
            arrived = list(self.pull_messages(waiting))
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            replies += arrived
        return replies
