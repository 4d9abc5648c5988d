"""A rule applied to gated replies: tensors of several dtypes in, tensors of the same dtypes out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.buffers import clamp
from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.aggregation.kept_shares import kept_shares
from flwr_byzantine.kernels import combine
from flwr_byzantine.kernels.columns import as_column_values
from flwr_byzantine.rules.base import Rule

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Applied:
    """What a rule made of the accepted replies; one value a client, in their order.

    Parameters
    ----------
    arrays : list[np.ndarray] or None
        New tensors; None where there is no finite value to give a coordinate.
    replaced : int
        Coordinates that had no robust value.
    weights : np.ndarray or None
        Share of each update in the result, where the rule mixes whole updates.
    kept : np.ndarray or None
        Fraction of a sample of the coordinates in which the value was used, where it does not.
    scores : np.ndarray or None
        What the rule selected by; lower is better.
    """

    arrays: list[Array] | None
    replaced: int = 0
    weights: Values | None = None
    kept: Values | None = None
    scores: Values | None = None


def apply_rule(
    rule: Rule,
    gated: Gated,
    model: Model | None,
    step: float | None,
    buffers: Collection[int] = (),
) -> Applied:
    """Aggregate the tensors of the accepted replies.

    Rules commute with translation, so a rule of the clients' models is the model plus the rule of their
    updates; distances and sums are taken in float64 from the values as sent, which is exact for models
    however close. Integer and boolean tensors take no part in distances and mixing.

    Parameters
    ----------
    rule : Rule
        With ``min_updates`` no more than the accepted replies.
    gated : Gated
        Accepted replies, all of one structure.
    model : Model or None
        The global model; where it is not known, coordinates without a robust value take those of the
        first finite reply.
    step : float or None
        None for parameters, or the factor on aggregated gradients, minus the learning rate.
    buffers : Collection[int]
        Positions of the tensors that have to stay in the honest range, see
        :func:`flwr_byzantine.aggregation.buffers.clamp`.

    Returns
    -------
    Applied
        The new tensors, and what became of each update.

    Raises
    ------
    ValueError
        If the rule gives what so many updates cannot be aggregated by.
    """
    assert gated.structure is not None
    structure = gated.structure.arrays
    clients = list(gated.accepted.values())
    results: list[Array] = list(structure)
    for t, array in enumerate(structure):
        if array.dtype.kind != "f":
            results[t] = lower_median([client[t] for client in clients])
    groups, columns = gated.columns, [columns for _, columns in gated.columns.values()]
    n = len(clients)
    distances = rule.distances_of(columns) if columns else None
    mixing, reduction = rule.plan(n, distances) if columns else (None, None)
    replaced = 0
    for dtype, (group, values) in groups.items():
        out = [np.empty(structure[t].size, dtype) for t in group]
        replaced += combine(
            values,
            mixing,
            reduction,
            base=None
            if model is None
            else [as_column_values(model.arrays[t], dtype) for t in group],
            scale=1.0 if step is None else step,
            add_base=step is not None,
            out=out,
        )
        for t, new in zip(group, out, strict=True):
            tensor = structure[t]
            results[t] = new.reshape(tensor.shape).astype(tensor.dtype, copy=False)  # byte order
    kept = None
    if columns and mixing is None and reduction is not None:
        kept = kept_shares(columns, reduction)
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
        weights=None if mixing is None else mixing.mean(axis=0),
        kept=kept,
        scores=rule.scores_of(n, distances) if columns else None,
    )


def lower_median(arrays: Sequence[Array]) -> Array:
    """Coordinate-wise lower median, which is always one of the values: for integers and booleans."""
    middle = (len(arrays) - 1) // 2
    result: Array = np.partition(np.stack(arrays), middle, axis=0)[middle]
    return result


def _fill(results: list[Array], gated: Gated) -> list[Array] | None:
    """Give coordinates without a value that of the first finite reply; None where there is none."""
    assert gated.structure is not None
    replies = (Model(gated.structure.names, arrays) for arrays in gated.accepted.values())
    finite = next((reply for reply in replies if reply.is_finite()), None)
    if finite is None:
        return None
    return [
        np.where(np.isfinite(mine), mine, theirs)
        for mine, theirs in zip(results, finite.arrays, strict=True)
    ]
