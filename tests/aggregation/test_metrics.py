"""What clients report is anything at all."""

import math

import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.aggregation.reports import capped, guarded, is_number, median, median_metrics

NAN, INF = math.nan, math.inf
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.floats()),
    st.just(10**400), st.lists(st.text()), st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None), ([3], 3), ([1, 2], 1.5), ([5, 1, 9], 5), ([True, True, False], 1), ([NAN, 4, 6], 5),
        ([INF, -INF, 2, 2], 2), ([NAN, INF], None), (["a", None, b"", [1.0]], None), ([10**400, 7], 7),
        ([NAN, NAN, 0.1], None),
    ],
)  # fmt: skip
def test_median_of_the_numbers(values, expected):
    assert median(values) == expected


@given(st.lists(st.floats(-1, 1), min_size=3), st.data())
@quickly
def test_a_minority_cannot_move_a_median_beyond_the_honest(honest, data):
    liars = data.draw(st.lists(anything, max_size=len(honest) - 1))
    reported = data.draw(st.permutations(honest + liars))
    assert min(honest) <= median(reported) <= max(honest)
    metrics = median_metrics([{"loss": value} for value in reported])
    assert min(honest) <= metrics["loss"] <= max(honest)


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", ""]), anything), max_size=6))
@quickly
def test_medians_of_anything_are_finite_numbers(reports):
    for value in median_metrics(reports).values():
        for number in value if isinstance(value, list) else [value]:
            assert isinstance(number, float)
            assert math.isfinite(number)


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_the_mean_of_two_middle_values_does_not_overflow(value):
    assert median([value, value]) == value
    assert median([value, -value]) == 0


def test_metrics_that_most_clients_report():
    reports = [
        {"loss": 1.0, "per_class": [1.0, 2.0], "rare": 1},
        {"loss": 3.0, "per_class": [3.0, 0.0], "rare": 1},
        {"loss": 2.0, "per_class": (2.0, 9.0), "mine": 7},
        {"loss": NAN, "per_class": [1.0] * 9, "name": "x"},
    ]
    assert median_metrics(reports) == {"loss": 2.0, "per_class": [2.0, 2.0]}
    assert median_metrics(reports, leave_out=["loss"]) == {"per_class": [2.0, 2.0]}
    assert median_metrics([]) == {}


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, True), (-0.5, True), (True, True), (NAN, False), (INF, False), (10**400, False), ("1", False),
     (None, False), ([1], False), (1j, False)],
)  # fmt: skip
def test_what_a_number_is(value, number):
    assert is_number(value) is number


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([10, 20, 30], [10, 20, 20]), ([10, 10, 10**15], [10, 10, 10]),
        ([5, -5, 0, NAN, INF], [5, 0, 0, 0, 0]), ([], []),
        ([None, "9", [3]], [0, 0, 0]), ([-1, -1], [0, 0]), ([7.9], [7]),
    ],
)  # fmt: skip
def test_example_counts_are_made_harmless(counts, expected):
    assert capped(counts) == expected


@given(st.lists(anything, max_size=8))
@quickly
def test_no_count_is_larger_than_what_most_claim(counts):
    result = capped(counts)
    assert len(result) == len(counts)
    assert all(isinstance(count, int) and count >= 0 for count in result)
    claimed = sorted(c for c in counts if is_number(c) and c > 0)
    most = claimed[len(claimed) // 2] if claimed else 0
    assert max(result, default=0) <= most


def test_a_users_function_may_fail(caplog):
    assert guarded(lambda a, b: a + b, 1, 2) == 3
    assert guarded(lambda report: report["accuracy"], {}) is None
    assert "accuracy" in caplog.text
