"""Turns what users pass to a rule into columns."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flwr_byzantine.kernels import Columns
from flwr_byzantine.kernels.columns import BFLOAT16, DOUBLE, as_column_values, readable
from flwr_byzantine.kernels.reference import widened

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
    if not hasattr(updates, "__len__") or isinstance(updates, str | bytes):
        updates = _listed(updates)
    if isinstance(updates, Mapping):
        raise ValueError(
            "Parameter `updates` should be a sequence of arrays. "
            f"Found a {type(updates).__name__}. Pass its values as a list."
        )
    torch = sys.modules.get("torch")
    first = updates if hasattr(updates, "ndim") else updates[0] if len(updates) else None
    if torch is not None and isinstance(first, torch.Tensor):
        rows, restore = _rows_of_tensors(torch, updates, first)
    elif torch is not None and isinstance(updates, Sequence):
        rows, restore = _rows_of_arrays(
            [tensor_values(torch, row) if isinstance(row, torch.Tensor) else row for row in updates]
        )
    else:
        rows, restore = _rows_of_arrays(updates)
    dtype = _common(rows)
    _check(rows, dtype)
    kind = dtype if dtype == BFLOAT16 else readable(dtype) if dtype.kind == "f" else DOUBLE
    values = [as_column_values(row, kind) for row in rows]
    return Columns([values], kind, len(values)), restore


def as_column(name: str, values: Any, columns: Columns) -> Array:
    """One more row of d values, with the type of the given columns.

    Raises
    ------
    ValueError
        If it is not d real numbers.
    """
    shape = np.shape(values)
    if len(shape) != 1:
        raise ValueError(
            f"Parameter `{name}` should be one-dimensional, as one update is. Found shape {tuple(shape)}. "
            "Flatten it like the updates."
        )
    row, _ = as_columns([values])
    if row.num_columns != columns.num_columns:
        raise ValueError(
            f"Parameter `{name}` should hold {columns.num_columns} values, as the updates do. "
            f"Found {row.num_columns}. Flatten it like the updates."
        )
    value = row.segments[0][0]
    if row.dtype == BFLOAT16 != columns.dtype:
        value = widened(value)
    return as_column_values(value, columns.dtype)


def as_counts(counts: Any, n: int) -> npt.NDArray[np.float64]:
    """Claimed numbers of examples, one for each of n updates. They are NaN if none are given.

    Raises
    ------
    ValueError
        If they are not n real numbers.
    """
    if counts is None:
        return np.full(n, np.nan)
    try:
        claimed = np.array([np.nan if count is None else float(count) for count in counts])
    except (TypeError, ValueError, OverflowError):
        claimed = np.zeros(0)
    if len(claimed) != n:
        raise ValueError(
            f"Parameter `counts` should hold {n} numbers, one for each update. "
            f"Found `counts = {counts!r}`. Leave it out if clients claim no numbers."
        )
    claimed[~np.isfinite(claimed)] = np.nan
    return claimed


def _listed(updates: Any) -> list[Any]:
    """The list of what a generator or another sequence gives."""
    try:
        if not isinstance(updates, str | bytes):
            return list(updates)
        raise TypeError
    except TypeError:
        raise ValueError(
            "Parameter `updates` should be an array of shape (n, d), or a sequence of n arrays. "
            f"Found `updates = {updates!r}`. Pass a list of arrays."
        ) from None


def _common(rows: list[npt.NDArray[Any]]) -> np.dtype[Any]:
    """The type that holds the values of all rows."""
    if rows and all(row.dtype == BFLOAT16 for row in rows):
        return BFLOAT16
    rows[:] = [widened(row) if row.dtype == BFLOAT16 else row for row in rows]
    return np.result_type(*rows) if rows else DOUBLE


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
    return [_as_array(row) for row in updates], lambda out: out


def _as_array(row: Any) -> npt.NDArray[Any]:
    """An update as an array."""
    try:
        return np.asarray(row)
    except ValueError:  # lists of several lengths
        raise ValueError(
            "Parameter `updates` should hold arrays, one for each update. Found an update that is a list of "
            "arrays or lists of several shapes. Flatten each update into one row."
        ) from None


def _rows_of_tensors(
    torch: Any, updates: Any, first: Any
) -> tuple[list[npt.NDArray[Any]], Callable[[Array], Any]]:
    if first is updates and first.ndim != 2:
        raise ValueError(
            "Parameter `updates` should have shape (n, d). "
            f"Found shape {tuple(first.shape)}. Flatten each update into one row."
        )
    device, dtype = first.device, first.dtype
    result = dtype if dtype.is_floating_point else torch.float64

    def restore(out: Array) -> Any:
        if out.dtype == BFLOAT16:
            return torch.from_numpy(out.view(np.int16)).view(torch.bfloat16).to(device)
        tensor = torch.from_numpy(out)
        if tensor.dtype is result:
            return tensor.to(device)
        tensor = tensor.to(
            device, result
        )  # the first row's type, even if other rows have a wider one
        return tensor.masked_fill(tensor.isinf(), math.nan)

    return [
        tensor_values(torch, row) if isinstance(row, torch.Tensor) else _as_array(row)
        for row in updates
    ], restore


def tensor_values(torch: Any, row: Any) -> npt.NDArray[Any]:
    """The values of a tensor, which shares its memory on the CPU."""
    try:
        row = row.detach().cpu().resolve_conj().resolve_neg()
        if row.dtype is torch.bfloat16:
            bits: npt.NDArray[Any] = row.contiguous().view(torch.int16).numpy()
            return bits.view(BFLOAT16)
        array: npt.NDArray[Any] = row.numpy()
    except (TypeError, RuntimeError) as error:  # float8, sparse, without data, ...
        raise ValueError(
            "Parameter `updates` should hold dense tensors of real numbers that numpy can read. "
            f"Found a tensor of {row.dtype}, {row.layout}, on {row.device}. Convert it to torch.float32."
        ) from error
    return array


def _check(rows: list[npt.NDArray[Any]], dtype: np.dtype[Any]) -> None:
    shapes = {row.shape for row in rows}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            "Parameter `updates` should hold at least one update, each one-dimensional and of the same "
            f"length. Found shapes {sorted(shapes)}. Flatten each update into one row."
        )
    if dtype != BFLOAT16 and dtype.kind not in "fiub":
        raise ValueError(
            "Parameter `updates` should hold real numbers. "
            f"Found dtype {dtype}. Convert them to float32 or float64."
        )
