"""Clients that train honestly on data that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from flwr.client import NumPyClient
from numpy.typing import NDArray

from flwr_byzantine.attacks import LabelFlip
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.kinds import check_kind
from flwr_byzantine.clients.wrapper import ClientWrapper, Config, FitReply

LabelMap = Callable[[NDArray[Any]], NDArray[Any]]


class LabelFlippingClient(ClientWrapper):
    """A client that trains honestly on wrong labels.

    Parameters
    ----------
    make_client : callable
        Builds the client, ``make_client(label_map)``, where ``label_map`` is None for the honest
        client and otherwise a function of an array of labels that its training labels go through.
    attack : LabelFlip
        The map.
    client_id, seed, schedule
        As for `ClientWrapper`. In the rounds in which it is off it is the honest client, which it
        also is when it evaluates.
    """

    def __init__(
        self,
        make_client: Callable[[LabelMap | None], NumPyClient],
        attack: LabelFlip,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(make_client(None), client_id=client_id, seed=seed, schedule=schedule)
        self.make_client = make_client
        self.attack = self.scheduled(attack)
        check_kind(self.attack, "LabelFlippingClient")

    @cached_property
    def poisoned(self) -> NumPyClient:
        """The client whose labels are flipped."""
        return self.make_client(self.attack)

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train the client whose labels are flipped."""
        return self.poisoned.fit(parameters, config)
