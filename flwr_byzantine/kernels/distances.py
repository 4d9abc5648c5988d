"""Pairwise squared distances, compiled by numba: the loop with most arithmetic, four rows against four.

Arguments are those of ``compiled``, whose properties these functions share.
"""

from numba import njit

from flwr_byzantine.kernels.primitives import _HELPER, _compile, _copy, _prefetch, _segment


def _pairwise_distances(rows, offsets, like, lo, hi, x, result):
    """Add the squared distances over columns lo to hi to the (m, m) matrix's lower triangle.

    m is n rounded up to a multiple of four; rows n to m of ``x`` are zero, and their distances mean
    nothing. The next block is asked for while this one is worked on, row by row, evenly spread.
    """
    n, m = rows.shape[1], result.shape[0]
    tiles = (m >> 2) * ((m >> 2) + 1) >> 1
    column = lo
    while column < hi:
        s = _segment(offsets, column)
        start = column - offsets[s]
        width = min(x.shape[1], hi - column, offsets[s + 1] - column)
        ahead = min(x.shape[1], offsets[s + 1] - column - width)
        for i in range(n):
            _copy(rows[s, i], start, like, x[i], width)
        row = due = 0
        for i in range(0, m, 4):
            for j in range(0, i + 4, 4):
                due += n
                while due >= tiles:
                    due -= tiles
                    _prefetch(rows[s, row], start + width, like, ahead)
                    row += 1
                if i == j:
                    _add_pairs(x, i, width, result)
                else:
                    _add_tile(x, i, j, width, result)
        column += width


def _add_pairs(x, i, width, result):
    """Add the distances among rows i to i + 3."""
    row_a, row_b, row_c, row_d = x[i], x[i + 1], x[i + 2], x[i + 3]
    ab = ac = ad = bc = bd = cd = 0.0
    for k in range(width):
        a, b, c, d = row_a[k], row_b[k], row_c[k], row_d[k]
        ab += (a - b) * (a - b)
        ac += (a - c) * (a - c)
        ad += (a - d) * (a - d)
        bc += (b - c) * (b - c)
        bd += (b - d) * (b - d)
        cd += (c - d) * (c - d)
    result[i + 1, i] += ab
    result[i + 2, i] += ac
    result[i + 3, i] += ad
    result[i + 2, i + 1] += bc
    result[i + 3, i + 1] += bd
    result[i + 3, i + 2] += cd


def _add_tile(x, i, j, width, result):
    """Add the distances between rows i to i + 3 and rows j to j + 3; 16 sums, each load used four times."""
    row_a, row_b, row_c, row_d = x[i], x[i + 1], x[i + 2], x[i + 3]
    row_p, row_q, row_r, row_s = x[j], x[j + 1], x[j + 2], x[j + 3]
    ap = aq = ar = as_ = bp = bq = br = bs = 0.0
    cp = cq = cr = cs = dp = dq = dr = ds = 0.0
    for k in range(width):
        a, b, c, d = row_a[k], row_b[k], row_c[k], row_d[k]
        p, q, r, s = row_p[k], row_q[k], row_r[k], row_s[k]
        ap += (a - p) * (a - p)
        aq += (a - q) * (a - q)
        ar += (a - r) * (a - r)
        as_ += (a - s) * (a - s)
        bp += (b - p) * (b - p)
        bq += (b - q) * (b - q)
        br += (b - r) * (b - r)
        bs += (b - s) * (b - s)
        cp += (c - p) * (c - p)
        cq += (c - q) * (c - q)
        cr += (c - r) * (c - r)
        cs += (c - s) * (c - s)
        dp += (d - p) * (d - p)
        dq += (d - q) * (d - q)
        dr += (d - r) * (d - r)
        ds += (d - s) * (d - s)
    result[i, j] += ap
    result[i, j + 1] += aq
    result[i, j + 2] += ar
    result[i, j + 3] += as_
    result[i + 1, j] += bp
    result[i + 1, j + 1] += bq
    result[i + 1, j + 2] += br
    result[i + 1, j + 3] += bs
    result[i + 2, j] += cp
    result[i + 2, j + 1] += cq
    result[i + 2, j + 2] += cr
    result[i + 2, j + 3] += cs
    result[i + 3, j] += dp
    result[i + 3, j + 1] += dq
    result[i + 3, j + 2] += dr
    result[i + 3, j + 3] += ds


_FAST = {"reassoc", "contract"}
_add_pairs = njit(**_HELPER, fastmath=_FAST)(_add_pairs)
_add_tile = njit(**_HELPER, fastmath=_FAST)(_add_tile)
pairwise_distances = _compile(_pairwise_distances)
