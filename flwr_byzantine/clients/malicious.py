"""Clients that need no knowledge of the others to misbehave."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from flwr.client import NumPyClient
from numpy.typing import NDArray

from flwr_byzantine.attacks import ChannelAttack, ColludingAttack, LabelFlip
from flwr_byzantine.attacks.base import Floats, require
from flwr_byzantine.clients.arrays import (
    Arrays,
    Payload,
    check_payload,
    copies,
    update_of,
    with_update,
)
from flwr_byzantine.clients.wrapper import ALWAYS, AttackSchedule, ClientWrapper, Config, FitReply

LabelMap = Callable[[NDArray[Any]], NDArray[Any]]

WRAPPERS = {
    ColludingAttack: "OmniscientClient or ColludingClient",
    ChannelAttack: "CorruptedChannelClient",
    LabelFlip: "LabelFlippingClient",
}
INT64 = 2**63


class MaliciousClient(ClientWrapper):
    """A client that trains honestly and sends what a local attack makes of its update.

    Parameters
    ----------
    client : NumPyClient
        Any client.
    attack : callable
        A local attack, ``attack(own, rng)``: one of `flwr_byzantine.attacks` or your own.
    client_id, seed, schedule
        As for `ClientWrapper`.
    payload : {"parameters", "gradients"}
        What the client returns from ``fit``. With parameters the attack is given, and replaces, the
        difference from the model received. Integer and boolean tensors are sent as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from flwr_byzantine.attacks import SignFlip
    >>> class Trainer(NumPyClient):
    ...     def fit(self, parameters, config):
    ...         return [p + 1 for p in parameters], 10, {}
    >>> client = MaliciousClient(Trainer(), SignFlip(scale=4))
    >>> client.fit([np.array([5.0, 6.0])], {"server-round": 1})
    ([array([1., 2.])], 10, {})
    """

    def __init__(
        self,
        client: NumPyClient,
        attack: Callable[[Floats, np.random.Generator], Floats],
        *,
        client_id: int = 0,
        seed: int = 0,
        payload: Payload = "parameters",
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(client, client_id=client_id, seed=seed, schedule=schedule)
        for kind, wrapper in WRAPPERS.items():
            advice = f"Wrap the client in {wrapper} instead."
            require(not isinstance(attack, kind), "attack", "a local attack", attack, advice)
        check_payload(payload)
        self.attack = attack
        self.payload: Payload = payload

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, and replace the update."""
        received = copies(parameters)
        returned, num_examples, metrics = self.client.fit(parameters, config)
        own = update_of(returned, received, self.payload)
        sent = self.attack(own, self.rng(server_round))
        return with_update(sent, returned, received, self.payload), num_examples, metrics


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
        self.attack = attack

    @cached_property
    def poisoned(self) -> NumPyClient:
        """The client whose labels are flipped."""
        return self.make_client(self.attack.flip)

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train the client whose labels are flipped."""
        return self.poisoned.fit(parameters, config)


class LyingClient(ClientWrapper):
    """A client that trains honestly and reports an absurd number of examples.

    Parameters
    ----------
    client : NumPyClient
        Any client, one that attacks in other ways too.
    num_examples : int
        The number it reports: huge, 0, negative. Flower transmits 64 bits with a sign.
    client_id, seed, schedule
        As for `ClientWrapper`.
    """

    def __init__(
        self,
        client: NumPyClient,
        num_examples: int = 10**12,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(client, client_id=client_id, seed=seed, schedule=schedule)
        require(
            isinstance(num_examples, int) and -INT64 <= num_examples < INT64,
            "num_examples",
            "a whole number from -2**63 to 2**63 - 1",
            num_examples,
            "Flower cannot transmit others.",
        )
        self.num_examples = num_examples

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, and lie about the number of examples."""
        returned, _, metrics = self.client.fit(parameters, config)
        return returned, self.num_examples, metrics
