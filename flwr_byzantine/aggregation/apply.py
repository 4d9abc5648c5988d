"""Applies a rule to gated replies. Tensors have several dtypes, and the results have the same dtypes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.buffers import clamp
from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.aggregation.kept_shares import among_copies, shares
from flwr_byzantine.aggregation.known import NOTHING, Known
from flwr_byzantine.kernels import Columns, Reduction
from flwr_byzantine.kernels.columns import as_column_values
from flwr_byzantine.rules.base import Given, Rule
from flwr_byzantine.rules.points import Points
from flwr_byzantine.rules.thresholds import out_of_scale

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Applied:
    """The result of a rule for the accepted replies, with one value for each client, in their order.

    Parameters
    ----------
    arrays : list[np.ndarray] or None
        The new tensors; None if a coordinate has no finite value.
    replaced : int
        The number of coordinates without a robust value.
    weights : np.ndarray or None
        The share of each update in the result, if the rule mixes whole updates.
    kept : np.ndarray or None
        The fraction of a sample of the coordinates in which the value was used, if the rule works by
        coordinate.
    used : np.ndarray or None
        The part of each client in the result. Clients that sent the same update share its part.
    scores : np.ndarray or None
        The scores by which the rule selected. A lower score is better.
    update : list[np.ndarray] or None
        If the rule remembers it, the difference of the result from the model, or the aggregated gradient.
    concern : str or None
        Why a threshold of the rule does not fit these updates.
    """

    arrays: list[Array] | None
    replaced: int = 0
    weights: Values | None = None
    kept: Values | None = None
    used: Values | None = None
    scores: Values | None = None
    update: list[Array] | None = None
    concern: str | None = None


class _Group:
    """The floating-point tensors of one dtype, and the points of the round in them.

    Parameters
    ----------
    dtype, tensors, columns
        See :attr:`flwr_byzantine.aggregation.gate.Gated.columns`.
    rule, model, step, known
        See :func:`apply_rule`.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        tensors: Sequence[int],
        columns: Columns,
        rule: Rule,
        model: Model | None,
        step: float | None,
        known: Known,
    ) -> None:
        self.dtype, self.tensors = dtype, tensors
        self.base = None if model is None else self._values(model.arrays)
        self.sent_updates = step is not None
        self.points = Points(columns)
        if rule.uses_model:
            origin = None if self.sent_updates else self.base  # updates begin at zero
            center = origin
            if rule.remembers and known.last_update is not None:
                center = self._from(origin, self._values(known.last_update))
            references = (origin, center) if rule.remembers else (origin,)
            self.points = Points(columns, references)

    def moved(
        self, mixing: Values | None, reduction: Reduction | None, result: Sequence[Array]
    ) -> list[Array]:
        """The difference of the result from the model, or the aggregated gradient; 0 if not finite."""
        if self.sent_updates:
            found = [np.empty_like(array) for array in result]
            self.points.combine(mixing, reduction, base=None, out=found)
        else:
            assert self.base is not None
            with np.errstate(over="ignore"):
                found = [new - old for new, old in zip(result, self.base, strict=True)]
        for array in found:
            array[~np.isfinite(array)] = 0
        return found

    def _from(self, origin: list[Array] | None, update: list[Array]) -> list[Array]:
        if origin is None:
            return update
        with np.errstate(over="ignore"):
            return [old + moved for old, moved in zip(origin, update, strict=True)]

    def _values(self, arrays: Sequence[Array]) -> list[Array]:
        return [as_column_values(arrays[t], self.dtype) for t in self.tensors]


def apply_rule(
    rule: Rule,
    gated: Gated,
    model: Model | None,
    step: float | None,
    buffers: Collection[int] = (),
    known: Known = NOTHING,
) -> Applied:
    """Aggregate the tensors of the accepted replies.

    Most rules commute with translation. So a rule of the clients' models is the model plus the rule of their
    updates. Distances and sums are computed in float64 from the sent values, which is exact even for models
    that are very close. Integer and boolean tensors take no part in distances and mixing.

    Parameters
    ----------
    rule : Rule
        A rule whose ``min_updates`` is at most the number of accepted replies.
    gated : Gated
        The accepted replies, all with the same structure.
    model : Model or None
        The global model. If it is not known, coordinates without a robust value take the values of
        the first finite reply.
    step : float or None
        None for parameters, or the factor on aggregated gradients, minus the learning rate.
    buffers : Collection[int]
        Positions of the tensors that have to stay in the honest range, see
        :func:`flwr_byzantine.aggregation.buffers.clamp`.
    known : Known
        The other input that the rule may ask for.

    Returns
    -------
    Applied
        The new tensors, and what became of each update.

    Raises
    ------
    ValueError
        If this many updates cannot be aggregated by what the rule gives.
    """
    assert gated.structure is not None
    structure = gated.structure.arrays
    clients = list(gated.accepted.values())
    results: list[Array] = list(structure)
    for t, array in enumerate(structure):
        if array.dtype.kind != "f":
            results[t] = lower_median([client[t] for client in clients])
    n = len(clients)
    groups = [
        _Group(dtype, group, columns, rule, model, step, known)
        for dtype, (group, columns) in gated.columns.items()
    ]
    points = [group.points for group in groups]
    given = Given(n, rule.distances_of(points), known.counts, known.server_round, known.trusted)
    mixing, reduction = rule.plan(given) if groups else (None, None)
    replaced, update = 0, [np.zeros(0)] * len(structure)
    for group in groups:
        out = [np.empty(structure[t].size, group.dtype) for t in group.tensors]
        replaced += group.points.combine(
            mixing,
            reduction,
            base=group.base,
            scale=1.0 if step is None else step,
            add_base=step is not None,
            out=out,
        )
        for t, new in zip(group.tensors, out, strict=True):
            tensor = structure[t]
            results[t] = new.reshape(tensor.shape).astype(tensor.dtype, copy=False)  # byte order
        if rule.remembers:
            moved = group.moved(mixing, reduction, out)
            for t, array in zip(group.tensors, moved, strict=True):
                update[t] = array
    columns = [group.points.columns for group in groups]
    weights = None if mixing is None else mixing.mean(axis=0)[:n]
    kept = used = None
    if weights is not None:
        used = among_copies(columns, weights)
    elif groups and reduction is not None:
        kept, used = shares(columns, reduction)
    filled = _fill(results, gated) if replaced and model is None else results
    if filled is not None:
        f = max(0, min(rule.tolerated(n), (n - 1) // 2))
        for t in buffers:
            if structure[t].dtype.kind == "f":
                base = structure[t] if model is None else model.arrays[t]
                filled[t] = clamp(filled[t], [client[t] for client in clients], f, base, step)
    return Applied(
        filled,
        replaced,
        weights=weights,
        kept=kept,
        used=used,
        scores=rule.checked_scores(given) if groups else None,
        update=update if rule.remembers else None,
        concern=out_of_scale(rule, given.distances),
    )


def lower_median(arrays: Sequence[Array]) -> Array:
    """The coordinate-wise lower median, for integers and booleans. It is always one of the values."""
    middle = (len(arrays) - 1) // 2
    result: Array = np.partition(np.stack(arrays), middle, axis=0)[middle]
    return result


def _fill(results: list[Array], gated: Gated) -> list[Array] | None:
    """Fill coordinates without a value from the first finite reply; None if there is no such reply."""
    assert gated.structure is not None
    replies = (Model(gated.structure.names, arrays) for arrays in gated.accepted.values())
    finite = next((reply for reply in replies if reply.is_finite()), None)
    if finite is None:
        return None
    return [
        np.where(np.isfinite(mine), mine, theirs)
        for mine, theirs in zip(results, finite.arrays, strict=True)
    ]
