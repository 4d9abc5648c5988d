"""A round of ByGARS or ByGARS++: what it begins with, and what it gives."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.reputation.rows import Gradient, PseudoGradients, Vector


@dataclass(frozen=True, eq=False)
class ScoredRound:
    """One round: H, the scores q of its clients, and its step sizes."""

    server_round: int
    rows: PseudoGradients
    clients: tuple[str, ...]
    q: Vector
    gamma: float
    alpha: float


@dataclass(frozen=True, eq=False)
class Step:
    """The model's move: the new model, its scores and weights, and what overflowed."""

    model: Model
    q: Vector
    weights: Vector
    replaced: int


class EarlyGradient(NamedTuple):
    """An auxiliary gradient that is computed before it is needed."""

    model: Model
    server_round: int
    gradient: Future[Gradient]
