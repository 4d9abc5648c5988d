"""The input of a rule besides the updates: the round, claimed counts, trusted weights, its last result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.gate import Array, Model, Reply
from flwr_byzantine.aggregation.trusted import Weights, weights_of
from flwr_byzantine.checks import is_number
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.bucketing import fresh_seed

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """The other input of a rule in a round. See :class:`flwr_byzantine.rules.points.Given`.

    Parameters
    ----------
    server_round : int
        The server's round.
    counts, trusted : np.ndarray or None
        Claimed numbers of examples, and the operator's weights, one for each accepted reply.
    last_update : Sequence[np.ndarray] or None
        For a rule with a memory, its last result as a difference from the model; None in the first round.
    """

    server_round: int = 0
    counts: Values | None = None
    trusted: Values | None = None
    last_update: Sequence[Array] | None = None

    @classmethod
    def of(
        cls,
        server_round: int,
        rule: Rule,
        accepted: Sequence[Reply],
        trusted: Weights | None,
        last_update: Sequence[Array] | None,
    ) -> Self:
        """The input that a rule asks for, about the accepted replies."""
        counts = [_number_or_nan(reply.num_examples) for reply in accepted]
        weights = None
        if trusted is not None:
            weights = weights_of(trusted, [reply.client for reply in accepted])
        return cls(
            server_round,
            np.array(counts) if rule.uses_counts else None,
            weights,
            last_update if rule.remembers else None,
        )


NOTHING = Known()


def drawn(rule: Rule) -> tuple[Rule, int | None]:
    """The rule of a round with its random numbers drawn, and their seed; None if it draws none."""
    seed = fresh_seed()
    this_round = rule.drawn(seed)
    return (rule, None) if this_round == rule else (this_round, seed)


def fits(update: Sequence[Array] | None, model: Model) -> bool:
    """Whether an update fits a model: it has as many values for each floating-point tensor."""
    return update is not None and [array.size for array in update] == [
        array.size if array.dtype.kind == "f" else 0 for array in model.arrays
    ]


def _number_or_nan(count: Any) -> float:
    return float(count) if is_number(count) else np.nan
