"""Buffers: statistics that a model carries, such as BatchNorm's, which have to stay in the honest range.

A weight that is a little outside of the honest range does no harm. But if a running variance is below zero,
the model's output is NaN. So buffers are clamped to the honest range, and other tensors are not.
"""

from collections.abc import Callable, Collection, Sequence
from logging import WARNING

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.aggregation.gate import Array

Buffers = Collection[str | int] | Callable[[str], bool] | None

SUFFIXES = (
    "running_mean",
    "running_var",
    "moving_mean",
    "moving_variance",
)  # names in torch and in Keras
_WIDTH = 1 << 14  # coordinates sorted at a time, so that memory is bounded


def check_buffers(buffers: Buffers) -> None:
    """Raise ValueError unless buffers are described by names, positions, or a function of the name."""
    if buffers is None or callable(buffers):
        return
    listed = isinstance(buffers, Collection) and not isinstance(buffers, str | bytes)
    if not listed or not all(map(_is_place, buffers)):
        raise ValueError(
            "Parameter `buffers` should be a list of names or positions of tensors, a function of the "
            f"name, or None. Found `buffers = {buffers!r}`. Pass `()` if the model has none."
        )


def find_buffers(
    buffers: Buffers, names: Sequence[str], *, strict: bool = False
) -> tuple[int, ...]:
    """Positions of a model's buffers.

    Parameters
    ----------
    buffers : Collection[str | int], Callable[[str], bool] or None
        Names or positions of tensors, or a function of the name. None takes the names that end like
        PyTorch's and Keras's: ``SUFFIXES``.
    names : Sequence[str]
        The names of the model's tensors. In the ``aggregate_fit`` API they are positions as text.
    strict : bool
        Whether a name or position that the model does not have is an error.

    Returns
    -------
    tuple[int, ...]
        Positions in ascending order.

    Raises
    ------
    ValueError
        If ``strict`` is true and the model lacks one of them.

    Examples
    --------
    >>> find_buffers(None, ["conv.weight", "bn.running_mean", "bn.running_var"])
    (1, 2)
    >>> find_buffers([2], ["0", "1", "2"])
    (2,)
    """
    if callable(buffers):
        found = tuple(t for t, name in enumerate(names) if buffers(name))
        if strict and not found:
            log(WARNING, "`buffers` is true for no tensor of the model, so no buffer is limited")
        return found
    if buffers is None:
        return tuple(t for t, name in enumerate(names) if name.endswith(SUFFIXES))
    place = {name: t for t, name in enumerate(names)} | {t: t for t in range(len(names))}
    if strict and (missing := [item for item in buffers if item not in place]):
        raise ValueError(
            f"Parameter `buffers` should name tensors of the model. Found {missing}, which it lacks. "
            f"It has {len(names)} tensors: {', '.join(names[:8])}{', ...' if names[8:] else ''}."
        )
    return tuple(sorted({place[item] for item in buffers if item in place}))


def point_out_counter(
    arrays: Sequence[Array], purpose: str = "keep them in the honest range"
) -> None:
    """Warn if a model counts batches as BatchNorm does, but its names do not show its statistics."""
    for t, array in enumerate(arrays):
        if array.dtype.kind in "iu" and array.ndim == 0:
            text = "Tensor %s looks like BatchNorm's counter. Pass `buffers=`, the positions of the running "
            log(WARNING, text + "statistics, to %s", t, purpose)
            return


def honest_interval(values: Sequence[Array], f: int) -> tuple[Array, Array]:
    """Bounds that lie between the smallest and the largest honest value, in every coordinate.

    If at most f values are Byzantine, one of any f + 1 values is honest. So the (f + 1)-th smallest value is
    at least the smallest honest value, and the (f + 1)-th largest is at most the largest honest value.

    Parameters
    ----------
    values : Sequence[np.ndarray]
        One array for each client, all with the same shape.
    f : int
        The number of Byzantine values in each coordinate, at most (n - 1) / 2.

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Lower and upper bounds in float64, with the arrays' shape. A bound is infinite if more than f
        values beyond it are not finite.
    """
    n, shape = len(values), values[0].shape
    flat = [array.reshape(-1) for array in values]
    low, high = np.empty(flat[0].size), np.empty(flat[0].size)
    for start in range(0, len(low), _WIDTH):
        part = slice(start, start + _WIDTH)
        ordered = np.partition(np.stack([row[part] for row in flat]), (f, n - 1 - f), axis=0)
        low[part], high[part] = ordered[f], ordered[n - 1 - f]
    low[~np.isfinite(low)] = -np.inf
    high[~np.isfinite(high)] = np.inf
    return low.reshape(shape), high.reshape(shape)


def clamp(result: Array, values: Sequence[Array], f: int, base: Array, step: float | None) -> Array:
    """Move a rule's result for a buffer into the honest interval, where it is outside.

    Parameters
    ----------
    result : np.ndarray
        The new tensor.
    values : Sequence[np.ndarray]
        What the clients sent, with one array for each client.
    f : int
        See :func:`honest_interval`.
    base : np.ndarray
        The old tensor, for gradients.
    step : float or None
        None if clients send tensors. If they send gradients, the factor on these.

    Returns
    -------
    np.ndarray
        An array with the result's shape and dtype. Values inside the interval do not change.
    """
    low, high = honest_interval(values, f)
    if step is not None:
        old = base.astype(np.float64)
        low, high = (
            np.minimum(old + step * low, old + step * high),
            np.maximum(old + step * low, old + step * high),
        )
    with np.errstate(over="ignore"):
        clamped = np.clip(result.astype(np.float64), low, high).astype(result.dtype)
    return np.where(np.isfinite(clamped), clamped, result)


def _is_place(item: object) -> bool:
    if isinstance(item, int | np.integer) and not isinstance(item, bool):
        return int(item) >= 0
    return isinstance(item, str)
