"""What the attackers see of a round, and what is known of them afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.lab.placement import Node


@dataclass(frozen=True)
class AttackedRound:
    """Who was Byzantine in a round.

    Parameters
    ----------
    server_round : int
        The round.
    byzantine : tuple
        The Byzantine nodes in order, by node id, or by the client's id in the ``aggregate_fit`` API. Those
        that are known by a number are there once they have reported it.
    attacked : tuple
        The nodes in whose replies an attack, or a channel, put something else.
    """

    server_round: int
    byzantine: tuple[Any, ...]
    attacked: tuple[Any, ...]


@dataclass(frozen=True)
class Sent:
    """A reply to training.

    Parameters
    ----------
    node : hashable
        Who sent it.
    reported : Mapping[str, Any]
        Its metrics.
    received, returned : list of np.ndarray or None
        The tensors, in one order; None where they are no arrays of numpy's.
    """

    node: Node
    reported: Mapping[str, Any]
    received: Arrays | None
    returned: Arrays | None


def in_order(node: Node) -> tuple[bool, int, str]:
    """Node ids and ids of clients in order; those that are numbers as numbers, first."""
    text = str(node)
    digits = text.isascii() and text.lstrip("-").isdigit()
    return not digits, int(text) if digits else 0, text
