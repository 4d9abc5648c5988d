"""The n updates as columns of one matrix, without copying them into one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Dtype = np.dtype[Any]
Segment = Sequence[npt.NDArray[np.floating]]

LINE = 64  # bytes the processor loads at once
_TARGET_BYTES = 16 * 1024  # half of a first-level cache, for the block prefetched beside this one
_BLOCK_STEP = 64  # columns; in multiples of it rows start at cache lines and loops have no tail
_MIN_BLOCK = 256  # columns; a loop over fewer costs more to start than to run
_MIN_RANGE = 1 << 16
_MAX_RANGES = 128


def addresses(arrays: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.int64]:
    """Memory addresses of arrays, which the caller must keep alive."""
    return np.array([array.ctypes.data for array in arrays], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Columns:
    """A matrix of n rows given as segments: for each tensor of a model, n one-dimensional arrays.

    Parameters
    ----------
    segments : Sequence[Sequence[np.ndarray]]
        For each tensor, the n clients' values: one-dimensional, contiguous, aligned, all of ``dtype``
        and, within a segment, of one length.
    dtype : np.dtype
        float32 or float64.
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
        """Check what the compiled code relies on: it follows addresses and checks nothing itself."""
        if self.dtype not in (np.float32, np.float64) or not self.dtype.isnative:
            raise ValueError(
                "Parameter `dtype` should be float32 or float64 in native byte order. "
                f"Found `dtype = {self.dtype}`. Pass arrays through `as_column_values`."
            )
        if self.num_rows < 1:
            raise ValueError(
                f"Parameter `num_rows` should be at least 1. Found `num_rows = {self.num_rows}`. "
                "Pass the values of one row or more."
            )
        # Held from here on: compiled code reads what was checked, whatever becomes of the lists given.
        object.__setattr__(self, "segments", tuple(tuple(segment) for segment in self.segments))
        for segment in self.segments:
            if len(segment) != self.num_rows:
                raise ValueError(
                    f"Parameter `segments` should hold {self.num_rows} arrays in every segment. "
                    f"Found a segment of {len(segment)}. Give one array for each row."
                )
            for array in segment:
                if not self.can_hold(array) or array.size != segment[0].size:
                    found = (
                        f"shape {np.shape(array)} and dtype {getattr(array, 'dtype', type(array))}"
                    )
                    raise ValueError(
                        "Parameter `segments` should hold contiguous, aligned, one-dimensional arrays "
                        f"of {self.dtype}, of one length in a segment. Found an array of {found}. "
                        "Pass it through `as_column_values`."
                    )

    def can_hold(self, array: Any) -> bool:
        """Whether the compiled code can read an array, of whatever length, beside these columns."""
        return (
            isinstance(array, np.ndarray)
            and array.dtype == self.dtype
            and array.ndim == 1
            and array.flags.c_contiguous
            and array.flags.aligned
        )

    @classmethod
    def of(
        cls, clients: Sequence[Sequence[npt.NDArray[Any]]], tensors: Sequence[int], dtype: Dtype
    ) -> "Columns":
        """View some tensors of every client, given by their positions, as columns of one dtype."""
        segments = [[as_column_values(client[t], dtype) for client in clients] for t in tensors]
        return cls(segments, dtype, len(clients))

    def select(self, rows: Sequence[int]) -> "Columns":
        """The columns of some of the rows, in that order; copies no values."""
        segments = [[segment[row] for row in rows] for segment in self.segments]
        return Columns(segments, self.dtype, len(rows))

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Addresses, shape (segments, n)."""
        flat = [array.ctypes.data for segment in self.segments for array in segment]
        return np.array(flat, dtype=np.int64).reshape(len(self.segments), self.num_rows)

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
        """Bounds of the ranges of columns handed to threads; they depend on the shape only."""
        d = self.num_columns
        count = min(max(d // _MIN_RANGE, 1), _MAX_RANGES)
        return sorted({d * i // count for i in range(count + 1)})

    def block(self, bytes_per_value: int) -> int:
        """Columns a block, so that all rows of a block stay in the cache."""
        fitting = _TARGET_BYTES // (self.num_rows * bytes_per_value)
        return min(4096, max(_MIN_BLOCK, fitting // _BLOCK_STEP * _BLOCK_STEP))


def as_column_values(array: npt.NDArray[np.generic], dtype: Dtype) -> npt.NDArray[np.floating]:
    """Flatten an array into what :class:`Columns` takes, copying only where it must."""
    flags = array.flags
    if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.require(array, dtype, ["C", "A"])
    return cast("npt.NDArray[np.floating]", array.reshape(-1))
