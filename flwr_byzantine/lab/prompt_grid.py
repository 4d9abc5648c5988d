"""The grid of an in-process simulation. It answers sooner than Flower's, and it can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from flwr_byzantine.strategies.passing_grid import PassingGrid

POLL = 0.02  # seconds between looks for replies; Flower's own in-memory grid looks every 0.1 s


class PromptGrid(PassingGrid):
    """Pass everything on to another grid, but look for replies more often.

    Parameters
    ----------
    grid : Grid
        The grid that does the work.
    stopped : threading.Event
        Once it is set, asking for replies raises InterruptedError. Otherwise a server would wait for an hour
        after its simulation has died or has been interrupted.
    """

    def __init__(self, grid: Grid, stopped: threading.Event) -> None:
        super().__init__(grid)
        self.stopped = stopped

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        self.go_on()
        return super().pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, or for the timeout in seconds."""
        waiting = set(self.push_messages(messages))
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (end is None or time.monotonic() < end):
            self.go_on(POLL)
            arrived = list(self.pull_messages(waiting))
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
            replies += arrived
        return replies

    def wait_for_nodes(self, number: int) -> None:
        """Wait until this many nodes are there."""
        while len(list(self.get_node_ids())) < number:
            self.go_on(POLL)

    def go_on(self, after: float = 0.0) -> None:
        """Wait for some seconds. Raise InterruptedError if the simulation has ended."""
        if self.stopped.wait(after):
            raise InterruptedError("The simulation ended while the server awaited replies.")
