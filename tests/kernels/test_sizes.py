"""The kernel of the watch over suspects: how long each row is, and its largest value."""

import numpy as np
import pytest

from flwr_byzantine.kernels import Columns, row_sizes
from flwr_byzantine.kernels.columns import as_column_values

BLOCKS = (32, 1024, 1 << 18)  # columns of a padded register, of the C code's block, and of numpy's


def columns_of(x, *sizes):
    """Rows that are cut into segments of the given sizes."""
    parts = np.split(x, np.cumsum(sizes)[:-1], axis=1)
    return Columns([[as_column_values(row, x.dtype) for row in p] for p in parts], x.dtype, len(x))


@pytest.mark.parametrize(
    "d", [0, 1, *(m * b + e for b in BLOCKS for m in (1, 2) for e in (-1, 0, 1))]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sizes_of_rows(d, dtype):
    x, base = np.split(np.random.default_rng(d).normal(size=(4, d)).astype(dtype), [3])
    base = base[0]
    moved = x.astype(np.float64) - base
    squares, largest = row_sizes(columns_of(x, d), (base,))
    np.testing.assert_allclose(squares, (moved**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(largest, abs(moved).max(axis=1, initial=0), rtol=1e-6)


def test_sizes_of_rows_worked_by_hand():
    """The squares of float32 would overflow or vanish. A row with a value that is not finite has no size."""
    x = np.float32([[3, -4, 0], [1e30, 0, 0], [-1e-30, 0, 0], [1, np.nan, 2], [9, 0, -np.inf]])
    for cut in ([3], [1, 2]):
        squares, largest = row_sizes(columns_of(x, *cut))
        np.testing.assert_allclose(squares, [25, 1e60, 1e-60, np.inf, np.inf], rtol=1e-6)
        np.testing.assert_array_equal(largest, [4, *abs(x[1:3, 0]), np.inf, np.inf])
