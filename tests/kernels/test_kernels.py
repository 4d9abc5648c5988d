"""The kernels that this process uses, on their own: blocks, ranges, segments and threads."""

from itertools import pairwise

import numpy as np
import pytest

from flwr_byzantine.kernels import (
    Columns,
    Reduction,
    combine,
    num_threads,
    pairwise_distances,
)
from flwr_byzantine.kernels.columns import as_column_values
from flwr_byzantine.kernels.threads import spread

REDUCTIONS = [Reduction(2), Reduction(0), Reduction(1, keep=5), Reduction(2, keep=3)]


def columns_of(x, sizes=None):
    """Rows that are cut into segments of the given sizes."""
    cuts = np.cumsum([0, *(sizes or [x.shape[1]])])
    segments = [[as_column_values(row[lo:hi], x.dtype) for row in x] for lo, hi in pairwise(cuts)]
    return Columns(segments, x.dtype, len(x))


def values(n, d, dtype=np.float32, whole=False):
    """Random rows, or small whole numbers with many ties."""
    random = np.random.default_rng(d)
    return (random.integers(-3, 4, (n, d)) if whole else random.normal(size=(n, d))).astype(dtype)


def reduced(x, reduction):
    """The reduction in plain numpy. Ties go to the lower row."""
    x = x.astype(np.float64)
    middle = np.sort(x, axis=0)[reduction.trim : len(x) - reduction.trim].mean(axis=0)
    if reduction.keep is None:
        return middle
    nearest = np.argsort(abs(x - middle), axis=0, kind="stable")[: reduction.keep]
    return np.take_along_axis(x, nearest, axis=0).mean(axis=0)


def run(columns, weights, reduction, **options):
    """The result as one row, and how many values were replaced."""
    sizes = np.diff(columns.offsets)
    out = [np.full(size, 7, columns.dtype) for size in sizes]
    replaced = combine(columns, weights, reduction, out=out, **options)
    return np.concatenate(out) if out else np.empty(0), replaced


def awkward():
    """Numbers of columns around the sizes of blocks and of a thread's range."""
    step = columns_of(values(7, 1 << 18)).ranges()[1]
    sizes = (32, 192, 1024, 1728, 4096, step)
    return [0, 1, 2, *(m * size + e for size in sizes for m in (1, 2) for e in (-1, 0, 1))]


@pytest.mark.parametrize("d", awkward())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_awkward_numbers_of_columns(d, dtype):
    x = values(7, d, dtype)
    weights = np.array([[0, 0.5, 0, 0.25, 0.25, 0, 0], *np.eye(7)[:4]])
    tight = {"rtol": 1e-6, "atol": 1e-6} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(
        run(columns_of(x), None, REDUCTIONS[2])[0], reduced(x, REDUCTIONS[2]), **tight
    )
    np.testing.assert_allclose(run(columns_of(x), weights[:1], None)[0], weights[0] @ x, **tight)
    mixed = reduced(weights @ x.astype(np.float64), Reduction(2, keep=3))
    np.testing.assert_allclose(run(columns_of(x), weights, Reduction(2, keep=3))[0], mixed, **tight)
    exact = x.astype(np.float64)
    squares = ((exact[:, None] - exact) ** 2).sum(axis=2) if d < 1e5 else None
    if squares is not None:
        np.testing.assert_allclose(pairwise_distances(columns_of(x)), squares, rtol=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
@pytest.mark.parametrize("mixed", [False, True])
def test_ties_in_every_block(reduction, mixed):
    """In a tie, the kernel reads the rows again. There is a tie in every block, at every position."""
    x = values(7, 9001, whole=True)
    weights = np.eye(7)[::-1].copy() if mixed else None
    rows = x[::-1] if mixed else x
    result, _ = run(columns_of(x, [10, 0, 5000, 3991]), weights, reduction)
    np.testing.assert_allclose(result, reduced(rows, reduction), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "sizes", [[6000], [1, 5998, 1], [0, 3000, 0, 0, 3000, 0], [2000] * 3, [1] * 6000]
)
def test_segments_are_one_matrix(sizes):
    x = values(6, 6000)
    split, whole = columns_of(x, sizes), columns_of(x)
    assert split.num_columns == 6000
    np.testing.assert_allclose(pairwise_distances(split), pairwise_distances(whole), rtol=1e-13)
    for weights, reduction in [(None, Reduction(1, keep=5)), (np.full((1, 6), 1 / 6), None)]:
        one, other = run(split, weights, reduction)[0], run(whole, weights, reduction)[0]
        np.testing.assert_array_equal(one, other)


def test_no_segments_at_all():
    columns = Columns([], np.dtype(np.float32), 3)
    np.testing.assert_array_equal(pairwise_distances(columns), np.zeros((3, 3)))
    assert combine(columns, None, Reduction(1), out=[]) == 0


def test_threads_do_not_change_a_bit(monkeypatch):
    x = values(7, 3 * (1 << 17) + 5)
    x[0, ::1000] = np.nan
    columns = columns_of(x, [1 << 18, x.shape[1] - (1 << 18)])
    assert len(columns.ranges()) > 3
    weights = np.random.default_rng(0).dirichlet(np.ones(7), 4)

    def results(threads):
        monkeypatch.setenv("FLWR_BYZANTINE_NUM_THREADS", threads)
        assert num_threads() == int(threads)
        yield pairwise_distances(columns)
        yield run(columns, None, Reduction(2, keep=5))[0]
        yield run(columns, weights[:1], None)[0]
        yield run(columns, weights, Reduction(1, keep=2))[0]

    one = list(results("1"))
    for threads in ("2", "3"):
        for result, expected in zip(results(threads), one, strict=True):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_number_of_threads_is_checked(monkeypatch, text):
    monkeypatch.setenv("FLWR_BYZANTINE_NUM_THREADS", text)
    with pytest.raises(ValueError, match="FLWR_BYZANTINE_NUM_THREADS"):
        num_threads()


def test_number_of_threads_follows_ray_and_openmp(monkeypatch):
    monkeypatch.delenv("FLWR_BYZANTINE_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert 1 <= num_threads() <= 16


def test_spread_keeps_order_and_passes_errors_on(monkeypatch):
    monkeypatch.setenv("FLWR_BYZANTINE_NUM_THREADS", "3")
    assert spread(lambda lo, hi: (lo, hi), [0, 2, 5, 9]) == [(0, 2), (2, 5), (5, 9)]
    assert spread(lambda lo, hi: 1, [0]) == []
    with pytest.raises(ZeroDivisionError):
        spread(lambda lo, hi: 1 / 0, [0, 1, 2])


def test_ranges_cover_every_column_once():
    for d in (0, 1, 1 << 17, (1 << 17) + 1, 40_000_000):
        row = np.broadcast_to(np.float32(0), d)
        columns = Columns.__new__(Columns)
        object.__setattr__(columns, "segments", [[row]])
        bounds = columns.ranges()
        assert (bounds[0], bounds[-1]) == (0, d)
        assert bounds == sorted(set(bounds))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("add_base", "scale"), [(False, 1.0), (True, 1.0), (True, -0.5)])
@pytest.mark.parametrize("kind", ["reduce", "weigh", "mix", "mix, nearest"])
def test_result_is_applied_to_the_base(dtype, add_base, scale, kind):
    """Gradients are added to the base. A mix that does not sum to one is a mix around the base."""
    x, base = values(5, 40, dtype, whole=True), np.arange(-20, 20).astype(dtype)
    q = np.array([0.5, 0, -0.25, 2, 0])
    weights, reduction = {
        "reduce": (None, Reduction(1)),
        "weigh": (q[None], None),
        "mix": (np.stack([q, -q, q / 2]), Reduction(1)),
        "mix, nearest": (np.eye(5) / 2, Reduction(1, keep=3)),  # with many ties
    }[kind]
    around = 0 if add_base or weights is None else np.outer(1 - weights.sum(axis=1), base)
    rows = x if weights is None else weights @ x.astype(np.float64) + around
    change = rows[0] if reduction is None else reduced(rows, reduction)
    result, replaced = run(
        columns_of(x), weights, reduction, base=[base], scale=scale, add_base=add_base
    )
    assert replaced == 0
    np.testing.assert_allclose(result, add_base * base + scale * change, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "signaling nan"])
@pytest.mark.parametrize("kind", ["reduce", "nearest", "weigh", "mix"])
def test_values_that_are_not_finite_give_way_to_the_base(bad, kind):
    x = values(5, 6000)
    pattern = np.uint32(0x7FA00000) if bad == "signaling nan" else np.float32(bad).view(np.uint32)
    x.view(np.uint32)[:3, [2, 4000]] = pattern
    x.view(np.uint32)[0, 5] = pattern
    base = np.arange(6000, dtype=np.float32)
    weights, reduction = {
        "reduce": (None, Reduction(2)),
        "nearest": (None, Reduction(1, keep=4)),
        "weigh": (np.full((1, 5), 0.2), None),
        "mix": (np.vstack([np.eye(5)[:4], [0, 0, 0, 0.5, 0.5]]), Reduction(2, keep=3)),
    }[kind]
    lost = [2, 5, 4000] if kind == "weigh" else [2, 4000]
    with_base, replaced = run(columns_of(x), weights, reduction, base=[base])
    without, counted = run(columns_of(x), weights, reduction)
    assert replaced == counted == len(lost)
    np.testing.assert_array_equal(with_base[lost], base[lost])
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(without)), lost)
    kept = np.setdiff1d(np.arange(6000), lost)
    np.testing.assert_array_equal(with_base[kept], without[kept])
    assert np.isfinite(with_base).all()


def test_a_weight_of_zero_leaves_the_row_out():
    x = values(4, 50)
    x[1] = np.inf
    result, replaced = run(columns_of(x), np.array([[0.5, 0, 0.5, 0]]), None)
    assert replaced == 0
    np.testing.assert_allclose(result, (x[0] + x[2]) / 2, rtol=1e-6)


def test_several_mixed_rows_need_a_reduction():
    with pytest.raises(ValueError, match="reduction"):
        run(columns_of(values(3, 4)), np.eye(3), None)
    with pytest.raises(ValueError, match="reduction"):
        run(columns_of(values(3, 4)), None, None)


@pytest.mark.parametrize("n", range(1, 10))
def test_distances_of_any_number_of_rows(n):
    """Rows are taken in fours. A row that is not finite must not change other distances of its tile."""
    x = 1 + 1e-4 * values(n, 500, np.float32)
    x[-1, 300] = np.nan
    exact = x.astype(np.float64)
    squares = ((exact[:, None] - exact) ** 2).sum(axis=2)
    squares[np.isnan(squares)] = np.inf
    distances = pairwise_distances(columns_of(x))
    np.testing.assert_allclose(distances[:-1, :-1], squares[:-1, :-1], rtol=1e-12)
    assert np.isinf(distances[-1, :-1]).all()


def test_distances_are_exact_and_symmetric():
    x = np.array(
        [[1e20, 1e20], [1e20, 1.0000002e20], [0, 1e-20], [np.nan, 0], [np.inf, 0]], np.float32
    )
    distances = pairwise_distances(columns_of(x))
    np.testing.assert_array_equal(distances, distances.T)
    np.testing.assert_array_equal(np.diag(distances), np.zeros(5))
    assert distances[0, 1] == (np.float64(x[1, 1]) - np.float64(x[0, 1])) ** 2
    assert np.isinf(distances[3:, :3]).all()
    assert np.isinf(distances[3, 4])


@pytest.mark.parametrize("n", range(2, 22))
def test_identical_rows_are_equally_far_from_all_others(n):
    """Rounding must not decide between them, at any position."""
    x = values(3, 1001)[np.random.default_rng(n).integers(0, 3, n)]
    distances = pairwise_distances(columns_of(x))
    same = (x[:, None] == x).all(axis=2)
    np.testing.assert_array_equal(distances[same], 0)
    for i, j in zip(*np.nonzero(same), strict=True):
        np.testing.assert_array_equal(distances[i], distances[j])


@pytest.mark.parametrize(
    "segments",
    [
        [[np.zeros(3, np.float32)]], [[np.zeros(3), np.zeros(3)]],
        [[np.zeros(3, np.float32), np.zeros(4, np.float32)]], [[np.zeros((3, 1), np.float32)] * 2],
        [[np.zeros(6, np.float32)[::2]] * 2], [[np.zeros(6, ">f4")] * 2],
        [[np.frombuffer(b"123456789", np.uint8)[1:9].view(np.float32)] * 2],
    ],
    ids=["too few", "dtype", "length", "matrix", "strided", "big-endian", "unaligned"],
)  # fmt: skip
def test_columns_refuse_what_the_compiled_code_cannot_read(segments):
    with pytest.raises(ValueError, match="segment"):
        Columns(segments, np.dtype(np.float32), 2)


def test_column_values_copy_only_where_they_must():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.shares_memory(as_column_values(x, x.dtype), x)
    for other in (x.T, x.astype(">f4"), x.astype(np.float16), x[:, ::2]):
        taken = as_column_values(other, x.dtype)
        np.testing.assert_array_equal(taken, np.ravel(other))
        Columns([[taken]], x.dtype, 1)
