"""Pairwise squared distances, compiled by numba: the loop with most arithmetic, four rows against two.

Arguments are those of ``compiled``, whose properties these functions share.
"""

from flwr_byzantine.kernels.columnwise import columnwise
from flwr_byzantine.kernels.primitives import _at, _compile, _prefetch, _row, _segment
from flwr_byzantine.kernels.steps import copy


@columnwise(registers=1)
def _add_tile(a, b, c, d, p, q, sums):
    """Eight sums, which with the six rows are almost as many values as there are registers."""
    differences = (one - other for one in (a, b, c, d) for other in (p, q))
    return {"sums": (difference * difference for difference in differences)}


@columnwise(registers=1)
def _add_pairs(a, b, c, d, p, q, r, s, sums):
    """Four sums, taken as those of a tile, so that identical rows are equally far from any other."""
    differences = (one - other for one, other in zip((a, b, c, d), (p, q, r, s), strict=True))
    return {"sums": (difference * difference for difference in differences)}


def _pairwise_distances(rows, offsets, like, lo, hi, tiles, pairs, x, sums):
    """Add the squared distances over columns lo to hi: of each tile to a row of ``sums``, then of pairs.

    A tile names four rows and two others, and has the distances of the first from these two, and so on;
    then it names the first and the last of the rows that are asked for meanwhile. A row of pairs names
    four rows and those that they are paired with.
    """
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(x.shape[1], hi - column, offsets[s + 1] - column)
        ahead = min(x.shape[1], offsets[s + 1] - column - width)
        for i in range(rows.shape[1]):
            copy(_at(rows[s, i], start, like), _row(x, i), width)
        for t in range(tiles.shape[0]):
            for i in range(tiles[t, 6], tiles[t, 7]):
                _prefetch(rows[s, i], start + width, like, ahead)
            _add_tile(
                _row(x, tiles[t, 0]), _row(x, tiles[t, 1]), _row(x, tiles[t, 2]),
                _row(x, tiles[t, 3]), _row(x, tiles[t, 4]), _row(x, tiles[t, 5]),
                _row(sums, t), width,
            )  # fmt: skip
        for t in range(pairs.shape[0]):
            _add_pairs(
                _row(x, pairs[t, 0]), _row(x, pairs[t, 1]), _row(x, pairs[t, 2]),
                _row(x, pairs[t, 3]), _row(x, pairs[t, 4]), _row(x, pairs[t, 5]),
                _row(x, pairs[t, 6]), _row(x, pairs[t, 7]), _row(sums, tiles.shape[0] + t), width,
            )  # fmt: skip
        column += width


pairwise_distances = _compile(_pairwise_distances)
