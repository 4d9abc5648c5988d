"""Clients that train honestly on changed data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

from flwr.client import NumPyClient
from numpy.typing import NDArray

from flwr_byzantine.attacks import RandomLabels
from flwr_byzantine.attacks.base import require, stream
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.kinds import check_kind
from flwr_byzantine.clients.wrapper import ClientWrapper, Config, FitReply

LabelMap = Callable[[NDArray[Any]], NDArray[Any]]
Poison = Callable[[Any, Any], tuple[Any, Any]]

POISON_STREAM = 0xBAD


class PoisonedClient(ClientWrapper):
    """A client that is built with a function that changes its training data, or without one.

    Parameters
    ----------
    make_client : callable
        Builds the client, ``make_client(function)``. With None it builds the honest client.
    attack : callable
        The attack on the data.
    client_id, seed, schedule
        See `ClientWrapper`. In the rounds in which the attack is off, and when it evaluates, it is the
        honest client.
    """

    def __init__(
        self,
        make_client: Callable[[Any], NumPyClient],
        attack: Any,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        advice = (
            "Pass a function that builds the client, as in `Trainer`, and not the client itself."
        )
        require(callable(make_client), "make_client", "a function", make_client, advice)
        super().__init__(make_client(None), client_id=client_id, seed=seed, schedule=schedule)
        self.make_client = make_client
        self.attack = self.scheduled(attack)

    @abstractmethod
    def poison(self) -> Callable[..., Any]:
        """Return the function that changes the training data of this client."""

    @cached_property
    def poisoned(self) -> NumPyClient:
        """The client with poisoned data."""
        return self.make_client(self.poison())

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train the client with poisoned data."""
        return self.poisoned.fit(parameters, config)


class LabelFlippingClient(PoisonedClient):
    """A client that trains honestly on wrong labels.

    Parameters
    ----------
    make_client : callable
        Builds the client, ``make_client(label_map)``. For the honest client, ``label_map`` is None.
        Otherwise it is a function of an array of labels. The client has to pass all its training labels
        through it in one call.
    attack : LabelFlip or RandomLabels
        The map, or your own function of an array of labels.
    client_id, seed, schedule
        See `ClientWrapper`. In the rounds in which the attack is off, and when it evaluates, it is the
        honest client. Random labels depend on seed and client, and are the same in each round.
    """

    def __init__(
        self,
        make_client: Callable[[LabelMap | None], NumPyClient],
        attack: Any,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(make_client, attack, client_id=client_id, seed=seed, schedule=schedule)
        check_kind(self.attack, "LabelFlippingClient")

    def poison(self) -> LabelMap:
        """Return the function that changes the training labels of this client."""
        attack: LabelMap = self.attack
        if isinstance(attack, RandomLabels):
            return lambda labels: attack(labels, self.seed, self.client_id)
        return attack


class BackdoorClient(PoisonedClient):
    """A client that trains honestly on data in which some samples have a trigger and the trigger's label.

    Parameters
    ----------
    make_client : callable
        Builds the client, ``make_client(poison)``. For the honest client, ``poison`` is None. Otherwise it is
        a function, and the client has to train on ``samples, labels = poison(samples, labels)``. It passes
        all its training samples in one call.
    attack : Backdoor
        The trigger, the target and the fraction of the samples.
    client_id, seed, schedule
        See `ClientWrapper`. In the rounds in which the attack is off, and when it evaluates, it is the
        honest client. The same samples are poisoned in each round. The seed and the client decide
        which.

    Notes
    -----
    The share of one client in the mean is small. ``MaliciousClient(BackdoorClient(...),
    Boost(...))`` multiplies its update, which is called model replacement.

    Accuracy says little about a backdoor. Measure ``attack.success_rate(predict, samples, labels)``
    on test samples instead, on the server in `evaluate_fn`. No client reports it.

    Examples
    --------
    >>> import numpy as np
    >>> from flwr_byzantine.attacks import Backdoor
    >>> class Trainer(NumPyClient):
    ...     def __init__(self, poison):
    ...         self.data = np.zeros((4, 5, 5)), np.array([0, 1, 2, 3])
    ...         if poison is not None:
    ...             self.data = poison(*self.data)
    ...     def fit(self, parameters, config):
    ...         return [self.data[1]], 4, {}
    >>> client = BackdoorClient(Trainer, Backdoor(target=9, fraction=1.0))
    >>> client.fit([], {"server-round": 1})
    ([array([9, 9, 9, 9])], 4, {})
    """

    def __init__(
        self,
        make_client: Callable[[Poison | None], NumPyClient],
        attack: Any,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(make_client, attack, client_id=client_id, seed=seed, schedule=schedule)
        check_kind(self.attack, "BackdoorClient")

    def poison(self) -> Poison:
        """Return the function that changes the training data of this client."""
        return lambda samples, labels: self.attack(
            samples, labels, stream(POISON_STREAM, self.seed, self.client_id)
        )
