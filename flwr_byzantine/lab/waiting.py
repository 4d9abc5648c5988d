"""Raises an error if a server waits for something that never comes, so that no run lasts forever."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flwr.app import Message
from flwr.server import ClientManager
from flwr.serverapp import Grid
from flwr.serverapp.strategy import strategy_utils
from flwr.supercore.run import RunNotRunningException

from flwr_byzantine.lab.in_process import PATIENCE, Asked, too_many
from flwr_byzantine.lab.watching import with_own
from flwr_byzantine.strategies.passing_grid import PassingGrid


class PatientGrid(PassingGrid):
    """Raises if a server goes on asking for nodes or replies that will never come.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that reaches the nodes.
    nodes : int
        How many nodes there are.
    """

    def __init__(self, grid: Grid, nodes: int) -> None:
        super().__init__(grid)
        self.ended = False
        self._asked, self._pulled = Asked(nodes), 0
        self._open: set[str] = set()

    def get_node_ids(self) -> Iterable[int]:
        """Get node IDs.

        Raises
        ------
        TimeoutError
            If the server goes on asking and sends nothing.
        RunNotRunningException
            After the run, if Flower's thread still looks for clients.
        """
        if self.ended:
            raise RunNotRunningException
        self._asked.again()
        return super().get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        self._asked.sent()
        pushed = list(super().push_messages(messages))
        self._open.update(pushed)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there.

        Raises
        ------
        TimeoutError
            If the server goes on asking for replies that it already has, or for replies to messages that it
            never sent.
        """
        wanted = list(message_ids)
        replies = list(super().pull_messages(wanted))
        if replies or not wanted or not self._open.isdisjoint(wanted):
            self._pulled = 0
        else:
            self._pulled += 1
        self._open -= {reply.metadata.reply_to_message_id for reply in replies}
        if self._pulled > PATIENCE:
            raise TimeoutError("the server waits for replies that will never come")
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for their replies, or for the timeout in seconds."""
        self._asked.sent()
        return super().send_and_receive(messages, timeout=timeout)


@contextmanager
def without_waiting(nodes: int) -> Iterator[None]:
    """Raise if code waits for more clients than there are, or for input from the terminal.

    All nodes are there from the beginning. So Flower's strategies need not sleep before they look again.
    """

    def patient(kind: type, stack: ExitStack) -> None:
        wait: Callable[..., Any] = vars(kind)["wait_for"]

        def wait_for(manager: Any, num_clients: int, *arguments: Any, **keywords: Any) -> Any:
            if num_clients > nodes:
                raise TimeoutError(too_many(nodes, num_clients))
            return wait(manager, num_clients, *arguments, **keywords)

        setattr(kind, "wait_for", wait_for)  # noqa: B010 - mypy knows no such attribute
        stack.callback(setattr, kind, "wait_for", wait)

    with ExitStack() as stack, open(os.devnull) as nothing:
        for kind in with_own(ClientManager, "wait_for"):
            patient(kind, stack)
        if (sleep := vars(strategy_utils).get("sleep")) is not None:  # between looks for nodes
            vars(strategy_utils)["sleep"] = lambda seconds: None
            stack.callback(vars(strategy_utils).__setitem__, "sleep", sleep)
        terminal, sys.stdin = sys.stdin, nothing
        stack.callback(setattr, sys, "stdin", terminal)
        yield
