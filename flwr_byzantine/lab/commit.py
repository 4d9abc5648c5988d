"""What attackers send, computed from what all nodes of a round received and sent.

The formulas are those of the wrappers in :mod:`flwr_byzantine.clients`, to the last bit. The wrappers compute
what honest nodes send. Here it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flwr_byzantine.attacks.base import Floats
from flwr_byzantine.checks import require
from flwr_byzantine.clients.arrays import (
    Arrays,
    Payload,
    flatten,
    is_floating,
    model_of,
    to_send,
    unflatten,
    update_of,
    with_update,
)
from flwr_byzantine.clients.wrapper import ATTACK_STREAM, stream_of


@dataclass(frozen=True)
class Exchange:
    """What a node received and what it sent, tensor by tensor in the same order.

    Parameters
    ----------
    number : int
        The number of the node.
    received, returned : list of np.ndarray
        The global model, and the model that the node trained from it.
    """

    number: int
    received: Arrays
    returned: Arrays

    @property
    def model(self) -> Floats:
        """What the node received, restricted to the places where it sent floating-point numbers."""
        return model_of(self.returned, self.received)

    @property
    def size(self) -> int:
        """How many values an attack changes."""
        return sum(array.size for array in self.returned if is_floating(array))

    def update(self, payload: Payload) -> Floats:
        """Return the node's update."""
        return update_of(self.returned, self.received, payload)

    def sending(self, update: Floats, payload: Payload) -> Arrays:
        """Return what the node has to send for this update."""
        return with_update(update, self.returned, self.received, payload)


@dataclass(frozen=True)
class Moment:
    """The round, the seed, and what nodes send."""

    server_round: int
    seed: int
    payload: Payload


def alone(attack: Any, attacker: Exchange, now: Moment) -> Arrays:
    """Return what an attacker sends if it knows its own update only."""
    rng = stream_of(ATTACK_STREAM, now.seed, now.server_round, attacker.number)
    return attacker.sending(_flat(attack(attacker.update(now.payload), rng)), now.payload)


def knowing_the_model(attack: Any, attackers: Sequence[Exchange], now: Moment) -> list[Arrays]:
    """Return what attackers send if they received the same model and know that model only."""
    rng = stream_of(ATTACK_STREAM, now.seed, now.server_round)
    update = to_send(_flat(attack(attackers[0].model, rng)), now.payload)
    return [attacker.sending(update, now.payload) for attacker in attackers]


def together(
    attack: Any, known: Sequence[Exchange], attackers: Sequence[Exchange], now: Moment
) -> list[Arrays]:
    """Return what attackers send if they know the updates of some nodes. Both are in ascending order."""
    updates = [exchange.update(now.payload) for exchange in known]
    matrix = np.empty((len(updates), updates[0].size), dtype=updates[0].dtype)
    for row, update in enumerate(updates):
        matrix[row] = update
    rng = stream_of(ATTACK_STREAM, now.seed, now.server_round)
    rows = np.asarray(attack(matrix, len(attackers), rng))
    require(
        rows.shape == (len(attackers), matrix.shape[1]),
        "attack",
        f"a function that returns {len(attackers)} rows of {matrix.shape[1]} values",
        attack,
        f"It returned shape {rows.shape}. One row is what one attacker sends.",
    )
    return [
        attacker.sending(row, now.payload) for attacker, row in zip(attackers, rows, strict=True)
    ]


def on_the_way(attack: Any, exchange: Exchange, num_clients: int, now: Moment) -> Arrays:
    """Return what the server receives of what a node sends."""
    arguments = (flatten(exchange.returned), exchange.number, num_clients, now.server_round)
    return unflatten(_flat(attack(*arguments, now.seed)), exchange.returned)


def layout(exchange: Exchange) -> tuple[Any, ...]:
    """Return a key that two replies share if and only if their values stand in the same places."""
    return tuple((array.shape, is_floating(array)) for array in exchange.returned)


def _flat(update: Any) -> Floats:
    return np.asarray(update)
