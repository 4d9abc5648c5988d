"""The base of all wrappers: they decide when a client misbehaves, and change nothing in other rounds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import numpy as np
from flwr.app import Context, RecordDict
from flwr.client import Client, NumPyClient
from flwr.common import Scalar

from flwr_byzantine.attacks.base import require, require_whole, stream
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule, split
from flwr_byzantine.checks import KnownKeywords
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.kinds import check_context

Config = dict[str, Scalar]
FitReply = tuple[Arrays, int, Config]

ROUND_KEYS = ("server-round", "server_round", "round", "current-round", "current_round")
ATTACK_STREAM = 0xA77


class MissingRound:
    """A stand-in for the round and its random numbers, if the server does not send the round.

    An attack that needs neither goes on. Any use of this raises a ValueError that says what to send.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.error = (
            f"Parameter `config` should hold the round under `{ROUND_KEYS[0]}`. Found the keys "
            f"{sorted(map(str, config))}. Let the server send it: give the strategy an "
            f"`on_fit_config_fn` that returns {{'{ROUND_KEYS[0]}': server_round}}."
        )

    def _raise(self, *arguments: object) -> NoReturn:
        raise ValueError(self.error)

    __getattr__ = __index__ = __len__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __mod__ = (
        _raise
    )


def round_of(config: Mapping[str, Any]) -> int:
    """Return the server's round from the configuration of a fit call; `MissingRound` if there is none."""
    for key in ROUND_KEYS:
        try:
            return int(config[key])
        except (KeyError, TypeError, ValueError):
            continue
    return cast(int, MissingRound(config))


def stream_of(*keys: int) -> np.random.Generator:
    """Return random numbers for these keys. Without a known round, return a stand-in for them."""
    missing = [key for key in keys if isinstance(key, MissingRound)]
    return cast(np.random.Generator, missing[0]) if missing else stream(*keys)


class WrappedClient(KnownKeywords, NumPyClient):
    """A client that passes everything except ``fit`` on to another client.

    Parameters
    ----------
    client : NumPyClient
        Any client.
    """

    def __init__(self, client: NumPyClient) -> None:
        trains = callable(getattr(client, "fit", None)) and not isinstance(client, type | Client)
        advice = "Pass the client itself, as in `Trainer()`, not its class, its `to_client()` or an attack."
        require(trains, "client", "a NumPyClient", client, advice)
        self.client = client

    @staticmethod
    def state_of(context: Context | None) -> RecordDict:
        """The state of a node's context; a new state without a context."""
        check_context(context)
        return RecordDict() if context is None else context.state

    def evaluate(self, parameters: Arrays, config: Config) -> tuple[float, int, Config]:
        """Evaluate as the wrapped client does."""
        return self.client.evaluate(parameters, config)

    def get_parameters(self, config: Config) -> Arrays:
        """Return the parameters of the wrapped client."""
        return self.client.get_parameters(config)

    def get_properties(self, config: Config) -> Config:
        """Return the properties of the wrapped client."""
        return self.client.get_properties(config)

    def to_client(self) -> Client:
        """Return a Flower client that implements exactly what the wrapped client implements.

        Flower looks at the class to find which methods a client has. An `evaluate` that only passes the
        call on would hide that the wrapped client has no `evaluate`.
        """
        client = self.client.to_client()
        if not hasattr(client, "numpy_client"):  # the user wrote this `to_client`
            return super().to_client()
        client.numpy_client = self
        return client


class ClientWrapper(WrappedClient):
    """A client that behaves like another client, except in the rounds in which it misbehaves.

    Every call except ``fit`` is passed on. In a round in which the wrapper is off, ``fit`` returns the
    same objects that the wrapped client returned. Only the seed, the client and the round decide
    what it does.

    Parameters
    ----------
    client : NumPyClient
        Any client.
    client_id : int
        The number of the client, at least 0.
    seed : int
        The seed of all its random choices, at least 0.
    schedule : AttackSchedule
        The rounds in which it misbehaves; by default all.

    Raises
    ------
    ValueError
        From ``fit``, if the schedule or the attack needs the round and the configuration does not hold
        it.
    """

    together = False  # whether all clients of this kind misbehave in the same rounds

    def __init__(
        self,
        client: NumPyClient,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        require_whole("client_id", client_id, 0, "Number the clients from 0.")
        require_whole("seed", seed, 0, "Choose any other seed.")
        advice = (
            "Pass `AttackSchedule(start_round=5)`, for example, or leave it out for all rounds."
        )
        known = isinstance(schedule, AttackSchedule)
        require(known, "schedule", "an `AttackSchedule`", schedule, advice)
        super().__init__(client)
        self.client_id = client_id
        self.seed = seed
        self.schedule = schedule
        self.spells = ALWAYS

    def scheduled(self, attack: Any) -> Any:
        """Return the attack without its schedule, and follow this schedule. Only an `OnOff` has one."""
        attack, self.spells = split(attack)
        return attack

    def is_on(self, server_round: int) -> bool:
        """Return whether it misbehaves in a round, by its schedule and by its attack's schedule."""
        keys = () if self.together else (self.client_id,)
        return all(
            (isinstance(server_round, MissingRound) and each.always)
            or each.is_on(server_round, self.seed, *keys)
            for each in (self.spells, self.schedule)
        )

    @abstractmethod
    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Return what the client sends in a round in which it misbehaves."""

    def rng(self, server_round: int) -> np.random.Generator:
        """Return the client's random numbers for a round."""
        return stream_of(ATTACK_STREAM, self.seed, server_round, self.client_id)

    def fit(self, parameters: Arrays, config: Config) -> FitReply:
        """Train as the wrapped client does, or misbehave."""
        server_round = round_of(config)
        if self.is_on(server_round):
            return self.misbehave(parameters, config, server_round)
        return self.client.fit(parameters, config)
