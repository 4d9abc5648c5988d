"""The grid of an in-process simulation: answers sooner, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from flwr.app import Message
from flwr.serverapp import Grid

from flwr_byzantine.strategies.passing_grid import PassingGrid

POLL = 0.02  # seconds; Flower's own in-memory grid looks for replies every 0.1


class PromptGrid(PassingGrid):
    """Pass everything on to another grid, but wait for replies more attentively.

    Parameters
    ----------
    grid : Grid
        The grid that does the work.
    stopped : threading.Event
        Once set, asking for replies raises InterruptedError: a server whose simulation has died
        or been interrupted would otherwise wait for an hour.
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
        """Wait until so many nodes are there."""
        while len(list(self.get_node_ids())) < number:
            self.go_on(POLL)

    def go_on(self, after: float = 0.0) -> None:
        """Wait for so many seconds; InterruptedError if the simulation has ended."""
        if self.stopped.wait(after):
            raise InterruptedError("The simulation ended while the server awaited replies.")
