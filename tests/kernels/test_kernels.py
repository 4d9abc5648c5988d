"""The three hot loops on their own: blocks, ranges, segments, threads, networks."""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

import flwr_byzantine
from flwr_byzantine.kernels import Columns, Reduction, combine, num_threads, pairwise_distances
from flwr_byzantine.kernels.columns import as_column_values
from flwr_byzantine.kernels.columnwise import columnwise, maximum, minimum, select
from flwr_byzantine.kernels.networks import odd_even_merge_sort, selection_network
from flwr_byzantine.kernels.primitives import _row
from flwr_byzantine.kernels.threads import spread

REDUCTIONS = [Reduction(2), Reduction(0), Reduction(1, keep=5), Reduction(2, keep=3)]


def columns_of(x, sizes=None):
    """Rows cut into segments of the given sizes."""
    cuts = np.cumsum([0, *(sizes or [x.shape[1]])])
    segments = [[as_column_values(row[lo:hi], x.dtype) for row in x] for lo, hi in pairwise(cuts)]
    return Columns(segments, x.dtype, len(x))


def values(n, d, dtype=np.float32, whole=False):
    """Random rows; small whole numbers are full of ties."""
    random = np.random.default_rng(d)
    return (random.integers(-3, 4, (n, d)) if whole else random.normal(size=(n, d))).astype(dtype)


def reduced(x, reduction):
    """Vectorised, so that it is no limit to d; ties to the lower row."""
    x = x.astype(np.float64)
    middle = np.sort(x, axis=0)[reduction.trim : len(x) - reduction.trim].mean(axis=0)
    if reduction.keep is None:
        return middle
    nearest = np.argsort(abs(x - middle), axis=0, kind="stable")[: reduction.keep]
    return np.take_along_axis(x, nearest, axis=0).mean(axis=0)


def run(columns, weights, reduction, **options):
    """Result as one row, and how many values were replaced."""
    sizes = np.diff(columns.offsets)
    out = [np.full(size, 7, columns.dtype) for size in sizes]
    replaced = combine(columns, weights, reduction, out=out, **options)
    return np.concatenate(out) if out else np.empty(0), replaced


def awkward():
    """Numbers of columns around the sizes of a block and of a thread's range."""
    block = columns_of(values(7, 1)).block(4)
    step = columns_of(values(7, 1 << 18)).ranges()[1]
    assert block < step < 1 << 18
    return [0, 1, 2, *(m * size + e for size in (block, step) for m in (1, 2) for e in (-1, 0, 1))]


@columnwise
def _everything(narrow, wide, weight, low, high, mixed, quotient, counts):
    """Every operation, on both types, stored and summed."""
    finite = abs(narrow) < np.inf
    known = select(narrow == narrow, narrow, 9.0)
    return {
        "low": minimum(known, low),
        "high": maximum(known, high),
        "mixed": select(finite, narrow + wide * weight - 1.0, mixed),
        "quotient": select(known > 0.5, wide / 3.0, known),
        "counts": (select(finite, 0.0, 1.0), known.constant(0.5), wide * wide),
    }


@njit
def _call_everything(narrow, wide, weight, singles, doubles, counts, width):
    _everything(
        _row(narrow, 1), _row(wide, 1), weight, _row(singles, 0), _row(singles, 1),
        _row(doubles, 0), _row(doubles, 1), _row(counts, 1), width,
    )  # fmt: skip


@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 99])
def test_loops_over_columns_are_translated_as_written(width):
    random = np.random.default_rng(width)
    narrow, singles = random.normal(size=(2, 2, 100)).astype(np.float32)
    wide, doubles = random.normal(size=(2, 2, 100))
    narrow[1, ::5], narrow[1, 1::7], narrow[1, 2::11] = np.nan, np.inf, -np.inf
    counts = np.ones((2, 3))
    a, b = narrow[1], wide[1]
    finite, known = np.isfinite(a), np.where(np.isnan(a), np.float32(9), a)
    old = singles.copy(), doubles.copy()
    with np.errstate(invalid="ignore"):
        expected = (
            [np.minimum(known, singles[0]), np.maximum(known, singles[1])],
            [
                np.where(finite, a + b * 1.7 - 1.0, doubles[0]),
                np.where(known > 0.5, b / 3.0, known),
            ],
        )
    _call_everything(narrow, wide, 1.7, singles, doubles, counts, width)
    for rows, wanted, before in zip((singles, doubles), expected, old, strict=True):
        for row, want, was in zip(rows, wanted, before, strict=True):
            np.testing.assert_array_equal(row[:width], want[:width])
            np.testing.assert_array_equal(row[width:], was[width:])
    np.testing.assert_array_equal(counts[0], 1)
    sums = [np.sum(~finite[:width]), width / 2, b[:width] @ b[:width]]
    np.testing.assert_allclose(counts[1], 1 + np.array(sums), rtol=1e-14)


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
    """Where values tie, the kernel goes back to the rows: in every block, at every place of it."""
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
    """Gradients are added to the base; a mix that does not sum to one is a mix around it."""
    x, base = values(5, 40, dtype, whole=True), np.arange(-20, 20).astype(dtype)
    q = np.array([0.5, 0, -0.25, 2, 0])
    weights, reduction = {
        "reduce": (None, Reduction(1)),
        "weigh": (q[None], None),
        "mix": (np.stack([q, -q, q / 2]), Reduction(1)),
        "mix, nearest": (np.eye(5) / 2, Reduction(1, keep=3)),  # full of ties
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
    """Rows are taken in fours; one that is not finite disturbs none of its neighbours in a tile."""
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
    """Rounding must not decide between them, wherever they stand."""
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


def apply(pairs, x):
    """Run a network on the columns of x."""
    x = x.copy()
    for i, j in pairs:
        x[[i, j]] = np.minimum(x[i], x[j]), np.maximum(x[i], x[j])
    return x


@pytest.mark.parametrize("n", range(1, 14))
def test_networks_sort(n):
    """By the zero-one principle: sorting all columns of zeros and ones is sorting anything."""
    x = (np.arange(2**n) >> np.arange(n)[:, None]) & 1
    pairs = odd_even_merge_sort(n)
    assert all(0 <= i < j < n for i, j in pairs)
    np.testing.assert_array_equal(apply(pairs, x), np.sort(x, axis=0))


@given(st.integers(1, 130), st.data())
@quickly
def test_networks_put_each_value_where_the_reduction_looks_for_it(n, data):
    trim = data.draw(st.integers(0, (n - 1) // 2))
    keep = data.draw(st.one_of(st.none(), st.integers(1, n)))
    x = np.random.default_rng(n).permuted(np.tile(np.arange(n)[:, None], 20), axis=0)
    after = apply(selection_network(n, trim, keep), x)
    groups = [range(trim), range(trim, n - trim), range(n - trim, n)]
    if keep is not None:
        groups += [[i] for i in range(n - keep)] + [[i] for i in range(keep, n)]
    for group in groups:
        found = np.sort(after[list(group)], axis=0)
        np.testing.assert_array_equal(
            found, np.tile(np.array(group)[:, None], 20).reshape(found.shape)
        )


def test_pruned_networks_are_shorter():
    assert len(selection_network(20, 9, None)) < len(odd_even_merge_sort(20))
    assert len(selection_network(20, 0, None)) == 0


@pytest.mark.slow
def test_machine_code_is_not_kept_beyond_a_change_of_any_source(tmp_path):
    """numba itself looks at the file of the compiled function only."""
    package = Path(flwr_byzantine.__file__).parent
    shutil.copytree(
        package, tmp_path / "flwr_byzantine", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = "from flwr_byzantine.rules import Median; print(Median()([[1.0], [2.0], [4.0]])[0])"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def median():
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    assert median() == 2
    source = tmp_path / "flwr_byzantine" / "kernels" / "columnwise.py"
    source.write_text(source.read_text().replace("llvm.minnum", "llvm.maxnum"))
    assert median() == 4
