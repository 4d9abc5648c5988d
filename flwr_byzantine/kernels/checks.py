"""Checks everything that the compiled loops rely on, because they follow addresses and check nothing.

Most of it comes from a rule, so the errors name a rule's methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels.columns import Columns, Dtype, can_be_read


@dataclass(frozen=True)
class Reduction:
    """How the k values of a column, mixed or not, become one value.

    Parameters
    ----------
    trim : int
        The ``trim`` smallest and the ``trim`` largest values are left out, and the others are averaged.
    keep : int or None
        If it is given, the result is the mean of the ``keep`` values nearest to that average. Of two
        values at the same distance, the one of the lower row counts.
    """

    trim: int
    keep: int | None = None


def check_mixing(weights: Any, n: int) -> npt.NDArray[np.float64] | None:
    """Return a mixing matrix in the form that the compiled loops read.

    Parameters
    ----------
    weights : array-like or None
        W, shape (k, n). None is the identity.
    n : int
        Number of rows to mix.

    Raises
    ------
    ValueError
        If it is anything but real numbers of that shape, with k >= 1.
    """
    if weights is None:
        return None
    try:
        found = np.asarray(weights)
    except ValueError:  # rows of several lengths
        found = np.empty(0, object)
    real = found.dtype.kind in "fiub" and not isinstance(weights, np.ma.MaskedArray)
    if found.ndim != 2 or not real or found.shape[1] != n or not len(found):
        raise ValueError(
            f"The mixing matrix should hold real numbers, in shape (k, {n}) with k >= 1 for {n} updates. "
            f"Found shape {found.shape} and dtype {found.dtype}. Correct the rule's `mixing`."
        )
    return np.ascontiguousarray(found, dtype=np.float64)


def check_reduction(reduction: Any, k: int, *, mixed: bool) -> Reduction | None:
    """Return a reduction of k rows in the form that the compiled loops read.

    Parameters
    ----------
    reduction : Reduction or None
        None asks for a single mixed row.
    k : int
        Number of rows to reduce.
    mixed : bool
        Whether the rows are mixed. Without a reduction they have to be.

    Raises
    ------
    ValueError
        If trimming would leave none of the k rows, or ``keep`` is more than there are.
    """
    if reduction is None:
        if not mixed or k != 1:
            raise ValueError(
                "A rule without a reduction should mix into a single row. Found "
                f"{f'{k} rows' if mixed else 'no mixing matrix'}. Override `reduction`."
            )
        return None
    if not isinstance(reduction, Reduction):
        raise ValueError(
            "The reduction should be None or a `flwr_byzantine.kernels.Reduction`. "
            f"Found `{reduction!r}`. Correct the rule's `reduction`."
        )
    trim, keep = _as_int(reduction.trim), _as_int(reduction.keep)
    if trim is None or not 0 <= 2 * trim < k:
        raise ValueError(
            f"The reduction of {k} rows should trim a whole number of them at each end, from 0 to "
            f"{(k - 1) // 2}, so that one is left. Found `{reduction}`. Correct the rule's `reduction`, "
            "or raise its `min_updates`, so that it never sees so few."
        )
    if reduction.keep is not None and (keep is None or not 1 <= keep <= k):
        raise ValueError(
            f"The reduction of {k} rows should keep None or a whole number of them, from 1 to {k}. "
            f"Found `{reduction}`. Correct the rule's `reduction`, or raise its `min_updates`."
        )
    return Reduction(trim, keep)


def check_segments(
    name: str, arrays: Sequence[Any], columns: Columns, dtype: Dtype, *, writable: bool = False
) -> None:
    """Raise ValueError unless there is one array for each segment, of the type and the segment's width."""
    widths = [segment[0].size for segment in columns.segments]
    if len(arrays) != len(widths):
        raise ValueError(
            f"Parameter `{name}` should hold {len(widths)} arrays, one for each segment. "
            f"Found {len(arrays)}. Give one array for each tensor."
        )
    for array, width in zip(arrays, widths, strict=True):
        ok = can_be_read(array, dtype) and array.size == width
        if not ok or (writable and not array.flags.writeable):
            kind = "writable, contiguous" if writable else "contiguous"
            found = f"shape {np.shape(array)} and dtype {getattr(array, 'dtype', type(array))}"
            raise ValueError(
                f"Parameter `{name}` should hold {kind}, aligned, one-dimensional arrays of "
                f"{dtype}; this one with {width} values. Found an array of {found}. "
                "Pass it through `as_column_values`."
            )


def check_base(base: Sequence[Any] | None, columns: Columns, *, add_base: bool) -> None:
    """Raise ValueError unless the base fits the columns, and is given if ``add_base`` is."""
    if base is not None:
        check_segments("base", base, columns, columns.dtype)
    elif add_base:
        raise ValueError(
            "Parameter `base` should be the model if `add_base` is True. Found `base = None`. "
            "Pass the arrays to which the result is added."
        )


def _as_int(value: Any) -> int | None:
    """A whole number as Python's int, which does not wrap around, or None for anything else."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return int(value) if whole else None
