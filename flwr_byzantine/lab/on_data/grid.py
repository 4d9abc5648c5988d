"""Tells the Byzantine nodes of a federation to attack with their data."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from copy import copy

from flwr.app import Message
from flwr.serverapp import Grid

from flwr_byzantine.lab.names import ON_DATA
from flwr_byzantine.lab.on_data.node import CANNOT, ordered
from flwr_byzantine.lab.placement import Placement
from flwr_byzantine.lab.seen import in_order
from flwr_byzantine.strategies.passing_grid import PassingGrid, kind_of_message


class OnDataGrid(PassingGrid):
    """Tells the Byzantine nodes to attack with their data whenever they train.

    They are those that :class:`flwr_byzantine.lab.AttackGrid` draws for the same seed. The nodes run
    :class:`flwr_byzantine.lab.on_data.node.OnDataApp`. Other attacks pass as if this was not there.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that the nodes answer to.
    attack : str
        The name of an attack.
    byzantine : int
        How many nodes attack.
    seed : int
        Who is drawn, and what attackers draw.

    Attributes
    ----------
    attackers : list of int
        Ids of the Byzantine nodes; none before the first training.
    """

    def __init__(self, grid: Grid, attack: str, byzantine: int, seed: int) -> None:
        super().__init__(grid)
        self.attack, self.seed = attack, seed
        self.placement = Placement(byzantine, seed, False, "Count the attackers.", int)
        self.numbers: dict[int, int] = {}
        self.trained = 0
        self._failures: list[str] = []
        self._lock = threading.Lock()  # the legacy server has a thread for each client

    @property
    def attackers(self) -> list[int]:
        """Ids of the Byzantine nodes."""
        return sorted(self.numbers)

    @property
    def error(self) -> str | None:
        """Why the attack could not be made, in one line."""
        if not self._failures or (self.trained and CANNOT not in self._failures[0]):
            return None
        reason = " ".join(self._failures[0].split())
        return reason if CANNOT in reason else f"no attacker trained on its data: {reason}"

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages."""
        return self.grid.push_messages(self._ordered(messages))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that are there."""
        return self._seen(self.grid.pull_messages(message_ids))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies.

        Raises
        ------
        ValueError
            If data of an attacker cannot be attacked: there is no use in going on.
        """
        replies = self.grid.send_and_receive(self._ordered(messages), timeout=timeout)
        return self._seen(replies)

    def _ordered(self, messages: Iterable[Message]) -> list[Message]:
        """The same messages, with orders in those that ask a Byzantine node to train."""
        given = list(messages)
        if self.attack not in ON_DATA:
            return given
        return [self._with_order(m) if kind_of_message(m) == "train" else m for m in given]

    def _with_order(self, message: Message) -> Message:
        with self._lock:
            if not self.numbers:
                nodes = sorted({*self.grid.get_node_ids()}, key=in_order)
                drawn = self.placement.of_round(nodes, 1)
                self.numbers = {node: i for i, node in enumerate(nodes) if node in drawn}
        number = self.numbers.get(message.metadata.dst_node_id)
        if number is None:
            return message
        told = copy(message)
        told.content = ordered(message.content, self.attack, self.seed, number)
        return told

    def _seen(self, replies: Iterable[Message]) -> list[Message]:
        """The replies, of which those of attackers are looked at."""
        received = list(replies)
        for reply in received:
            if reply.metadata.src_node_id not in self.numbers:
                continue
            if reply.has_error():
                self._failures.append(reply.error.reason or "no reason given")
            elif kind_of_message(reply) == "train":
                self.trained += 1
        if any(CANNOT in failure for failure in self._failures):
            self._failures.sort(key=lambda failure: CANNOT not in failure)
            raise ValueError(self._failures[0])
        return received
