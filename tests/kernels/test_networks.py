"""Sorting networks put every value of a column where the reduction looks for it."""

import numpy as np
import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.kernels.networks import (
    SORTERS,
    as_table,
    comparators,
    in_sorters,
    odd_even_merge_sort,
    selection_network,
)


def apply(pairs, x):
    """Run a network on the columns of x."""
    x = x.copy()
    for i, j in pairs:
        x[[i, j]] = np.minimum(x[i], x[j]), np.maximum(x[i], x[j])
    return x


@pytest.mark.parametrize("n", range(1, 14))
def test_networks_sort(n):
    """By the zero-one principle, a network that sorts all zeros and ones sorts everything."""
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
    after = apply(comparators(selection_network(n, trim, keep), n), x)
    groups = [range(trim), range(trim, n - trim), range(n - trim, n)]
    if keep is not None:
        groups += [[i] for i in range(n - keep)] + [[i] for i in range(keep, n)]
    for group in groups:
        found = np.sort(after[list(group)], axis=0)
        np.testing.assert_array_equal(
            found, np.tile(np.array(group)[:, None], 20).reshape(found.shape)
        )


def test_pruned_networks_are_shorter():
    median = comparators(selection_network(20, 9, None), 20)
    assert len(median) < len(odd_even_merge_sort(20))
    assert selection_network(20, 0, None) == ()


@pytest.mark.parametrize("n", [*range(1, 40), 64, 100, 127])
def test_sorters_do_every_comparator_once_in_an_order_that_sorts(n):
    pairs = odd_even_merge_sort(n)
    sorters = in_sorters(pairs, n)
    done = comparators(tuple(sorters), n)
    assert sorted(done) == sorted(pairs)
    for row in range(n):
        assert [p for p in done if row in p] == [p for p in pairs if row in p]
    reads = sum(len(rows) for _, rows in sorters)
    assert n < 4 or reads < 2 * len(pairs)  # single comparators would read this much


def test_sorters_as_a_table():
    table = as_table(((0, (1, 3)), (3, (0, 1, 2, 3, 4, 5, 6, 7))))
    np.testing.assert_array_equal(table[0], [0, 1, 3, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(table[1], [3, 0, 1, 2, 3, 4, 5, 6, 7])
    assert table.dtype == np.int32


@pytest.mark.parametrize("kind", [2, 4])
def test_sorters_that_sort_do(kind):
    """By the zero-one principle."""
    n = 1 + max(j for _, j in SORTERS[kind])
    x = (np.arange(2**n) >> np.arange(n)[:, None]) & 1
    np.testing.assert_array_equal(apply(SORTERS[kind], x), np.sort(x, axis=0))
