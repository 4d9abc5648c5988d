"""What users pass to a rule, as columns."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import Columns
from flwr_byzantine.kernels.columns import as_column_values

Array = npt.NDArray[np.floating]


def as_columns(updates: Any) -> tuple[Columns, Callable[[Array], Any]]:
    """View n updates as columns, and say how to give a result in the caller's kind of array.

    Parameters
    ----------
    updates : np.ndarray, torch.Tensor, or a sequence of them
        Shape (n, d), or n arrays of shape (d,). On the CPU, float32 and float64 rows share memory.

    Returns
    -------
    tuple[Columns, Callable]
        The columns, and a function from a (d,) array to the kind, type and device of the input.

    Raises
    ------
    ValueError
        If the input is not n >= 1 rows of one length, or not real numbers.
    """
    torch = sys.modules.get("torch")
    first = updates if hasattr(updates, "ndim") else updates[0] if len(updates) else None
    if torch is not None and isinstance(first, torch.Tensor):
        rows, restore = _rows_of_tensors(torch, updates, first)
    else:
        rows, restore = _rows_of_arrays(updates)
    dtype = np.result_type(*rows) if rows else np.dtype(np.float64)
    _check(rows, dtype)
    compute: np.dtype[Any] = np.dtype(
        np.float32 if dtype in (np.float16, np.float32) else np.float64
    )
    values = [as_column_values(row, compute) for row in rows]
    floating = dtype if dtype.kind == "f" and dtype.itemsize <= 8 else compute
    return Columns([values], compute, len(values)), lambda out: restore(_cast(out, floating))


def _cast(out: Array, dtype: np.dtype[Any]) -> Array:
    """Values in another type; NaN where they are too large for it."""
    with np.errstate(over="ignore"):
        cast = out.astype(dtype, copy=False)
    return cast if dtype == out.dtype else np.where(np.isinf(cast), np.nan, cast).astype(dtype)


def _rows_of_arrays(updates: Any) -> tuple[list[npt.NDArray[Any]], Callable[[Array], Any]]:
    if any(isinstance(rows, np.ma.MaskedArray) for rows in (updates, *updates)):
        raise ValueError(
            "Parameter `updates` should hold no masked values. Found a masked array, whose mask would be "
            "ignored. Fill it first: `updates.filled(numpy.nan)`."
        )
    if isinstance(updates, np.ndarray):
        if updates.ndim != 2:
            raise ValueError(
                "Parameter `updates` should have shape (n, d). "
                f"Found shape {updates.shape}. Flatten each update into one row."
            )
        return list(updates), lambda out: out
    return [np.asarray(row) for row in updates], lambda out: out


def _rows_of_tensors(
    torch: Any, updates: Any, first: Any
) -> tuple[list[npt.NDArray[Any]], Callable[[Array], Any]]:
    if first is updates and first.ndim != 2:
        raise ValueError(
            "Parameter `updates` should have shape (n, d). "
            f"Found shape {tuple(first.shape)}. Flatten each update into one row."
        )
    device, dtype = first.device, first.dtype
    rows = [row.detach().cpu() for row in updates]
    if dtype is torch.bfloat16:
        rows = [row.float() for row in rows]
    result = dtype if dtype.is_floating_point else torch.float64

    def restore(out: Array) -> Any:
        tensor = torch.from_numpy(out).to(device, result)
        return tensor.masked_fill(tensor.isinf(), math.nan) if dtype is torch.bfloat16 else tensor

    return [row.numpy() for row in rows], restore


def _check(rows: list[npt.NDArray[Any]], dtype: np.dtype[Any]) -> None:
    shapes = {row.shape for row in rows}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            "Parameter `updates` should hold at least one update, each one-dimensional and of the same "
            f"length. Found shapes {sorted(shapes)}. Flatten each update into one row."
        )
    if dtype.kind not in "fiub":
        raise ValueError(
            "Parameter `updates` should hold real numbers. "
            f"Found dtype {dtype}. Convert them to float32 or float64."
        )
