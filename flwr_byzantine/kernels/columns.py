"""Views the n updates as columns of one matrix, without copying them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Dtype = np.dtype[Any]
Segment = Sequence[npt.NDArray[np.floating]]

SINGLE: Dtype = np.dtype(np.float32)
DOUBLE: Dtype = np.dtype(np.float64)
HALF: Dtype = np.dtype(np.float16)
BFLOAT16: Dtype = np.dtype([("bfloat16", np.uint16)])
"""The type with which a bfloat16 tensor is viewed, because numpy has no bfloat16."""

_MIN_RANGE = 1 << 16
_MAX_RANGES = 128


def addresses(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Memory addresses of arrays, which the caller must keep alive."""
    return np.array([array.ctypes.data for array in arrays], dtype=np.int64)


def readable(dtype: Dtype) -> Dtype:
    """The type of columns, in native byte order, for values of a floating-point type of numpy."""
    return {2: HALF, 4: SINGLE}.get(dtype.itemsize, DOUBLE)


def computed_in(dtype: Dtype) -> Dtype:
    """The type of the numbers that values of a type are computed with: float32 or float64."""
    return DOUBLE if dtype == DOUBLE else SINGLE


@dataclass(frozen=True, eq=False)
class Columns:
    """A matrix of n rows given as segments: for each tensor of a model, n one-dimensional arrays.

    Parameters
    ----------
    segments : Sequence[Sequence[np.ndarray]]
        For each tensor, the n clients' values: one-dimensional, contiguous, aligned, all of ``dtype``
        and, within a segment, of one length.
    dtype : np.dtype
        float32, float64, float16 or ``BFLOAT16``. Values of 16 bits are widened block by block.
    num_rows : int
        n.

    Examples
    --------
    >>> rows = [np.zeros(3, np.float32), np.ones(3, np.float32)]
    >>> Columns([rows], np.dtype(np.float32), 2).num_columns
    3
    """

    segments: Sequence[Segment]
    dtype: Dtype
    num_rows: int

    def __post_init__(self) -> None:
        """Check what the compiled code relies on, because it follows addresses and checks nothing itself."""
        if self.dtype not in (SINGLE, DOUBLE, HALF, BFLOAT16) or not self.dtype.isnative:
            raise ValueError(
                "Parameter `dtype` should be float32 or float64, or float16 or `BFLOAT16`, in native byte "
                f"order. Found `dtype = {self.dtype}`. Pass arrays through `as_column_values`."
            )
        if self.num_rows < 1:
            raise ValueError(
                f"Parameter `num_rows` should be at least 1. Found `num_rows = {self.num_rows}`. "
                "Pass the values of one row or more."
            )
        # The arrays are held from here on. So the compiled code reads what was checked, even if the caller
        # changes the given lists.
        object.__setattr__(self, "segments", tuple(tuple(segment) for segment in self.segments))
        for segment in self.segments:
            if len(segment) != self.num_rows:
                raise ValueError(
                    f"Parameter `segments` should hold {self.num_rows} arrays in every segment. "
                    f"Found a segment of {len(segment)}. Give one array for each row."
                )
            for array in segment:
                if not can_be_read(array, self.dtype) or array.size != segment[0].size:
                    found = (
                        f"shape {np.shape(array)} and dtype {getattr(array, 'dtype', type(array))}"
                    )
                    raise ValueError(
                        "Parameter `segments` should hold contiguous, aligned, one-dimensional arrays "
                        f"of {self.dtype}, of one length in a segment. Found an array of {found}. "
                        "Pass it through `as_column_values`."
                    )

    @classmethod
    def of(
        cls, clients: Sequence[Sequence[npt.NDArray[Any]]], tensors: Sequence[int], dtype: Dtype
    ) -> "Columns":
        """View some tensors of every client, given by their positions, as columns of one dtype."""
        segments = [[as_column_values(client[t], dtype) for client in clients] for t in tensors]
        return cls(segments, dtype, len(clients))

    def select(self, rows: Sequence[int]) -> "Columns":
        """The columns of some of the rows, in the given order. No values are copied."""
        segments = [[segment[row] for row in rows] for segment in self.segments]
        return Columns(segments, self.dtype, len(rows))

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Memory addresses, shape (segments, n)."""
        segments = [addresses(segment) for segment in self.segments]
        return np.array(segments, dtype=np.int64).reshape(len(segments), self.num_rows)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """First column of each segment, and the end, shape (segments + 1,)."""
        sizes = [segment[0].size for segment in self.segments]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)

    @property
    def num_columns(self) -> int:
        """Number of columns, d."""
        return int(self.offsets[-1])

    def ranges(self) -> list[int]:
        """Bounds of the ranges of columns that threads take. They depend only on the shape."""
        d = self.num_columns
        count = min(max(d // _MIN_RANGE, 1), _MAX_RANGES)
        return sorted({d * i // count for i in range(count + 1)})


def can_be_read(array: Any, dtype: Dtype) -> bool:
    """Whether the compiled code can read an array as values of a type."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == 1
        and array.flags.c_contiguous
        and array.flags.aligned
    )


@dataclass(frozen=True, eq=False)
class Target:
    """Where a result goes: out = base_weight * base + scale * value, or the base if that is not finite.

    Parameters
    ----------
    base : tuple[np.ndarray, ...] or None
        The global model, one array for each segment, of the columns' type. None if it is not known.
    out : tuple[np.ndarray, ...]
        Arrays like those of the base. They are written in place.
    base_weight : float
        Factor on the base.
    scale : float
        Factor on the value.
    """

    base: tuple[npt.NDArray[Any], ...] | None
    out: tuple[npt.NDArray[Any], ...]
    base_weight: float
    scale: float

    @cached_property
    def addresses(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Memory addresses of the base and of the result. Those of the base are zeros if it is not known."""
        out = addresses(self.out)
        return np.zeros_like(out) if self.base is None else addresses(self.base), out


def as_column_values(array: npt.NDArray[np.generic], dtype: Dtype) -> npt.NDArray[np.floating]:
    """Flatten an array into the form that :class:`Columns` takes. It is copied only if necessary."""
    flags = array.flags
    if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.require(array, dtype, ["C", "A"])
    return cast("npt.NDArray[np.floating]", array.reshape(-1))
