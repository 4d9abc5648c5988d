"""What attackers see in a round, and the record of who attacked."""

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
        The Byzantine nodes in order, by node id, or by the client's id in the ``aggregate_fit`` API. With
        ``order_by``, a node is listed once it has reported its number.
    attacked : tuple
        The nodes whose replies an attack or a channel changed.
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
        The sender.
    reported : Mapping[str, Any]
        The metrics in the reply.
    received, returned : list of np.ndarray or None
        The tensors that the node received and returned, in the same order; None if they are no numpy arrays.
    """

    node: Node
    reported: Mapping[str, Any]
    received: Arrays | None
    returned: Arrays | None


def in_order(node: Node) -> tuple[bool, int, str]:
    """Ids of nodes or clients in order. Ids that are numbers come first, and are sorted as numbers."""
    text = str(node)
    digits = text.isascii() and text.lstrip("-").isdigit()
    return not digits, int(text) if digits else 0, text
