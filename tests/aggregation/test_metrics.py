"""Clients may report anything as metrics."""

import math

import pytest
from cases import quickly
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.aggregation.reports import (
    capped,
    guarded,
    is_number,
    median,
    median_loss,
    median_metrics,
)

NAN, INF = math.nan, math.inf
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.floats()),
    st.just(10**400), st.lists(st.text()), st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None), ([3], 3), ([1, 2], 1.5), ([5, 1, 9], 5), ([True, True, False], 1), ([NAN, 4, 6], 5),
        ([INF, -INF, 2, 2], 2), (["a", None, b"", [1.0]], None), ([10**400, 7], 7), (["a", "b", NAN], None),
    ],
)  # fmt: skip
def test_median_of_the_numbers(values, expected):
    assert median(values) == expected


@pytest.mark.parametrize(
    "values", [[NAN, INF], [NAN, NAN, 0.1], [NAN], [10**400], [NAN, NAN, "a", None], [INF, -INF, 1]]
)
def test_a_median_that_most_numbers_have_no_part_in_is_nan(values, caplog):
    assert math.isnan(median(values))
    assert math.isnan(median_loss(values))
    assert "no finite number as the loss" in caplog.text
    caplog.clear()
    found = median_metrics([{"loss": v, "name": "a", "list": [1, v]} for v in values])
    assert math.isnan(found["loss"])
    assert found["list"][0] == 1
    assert math.isnan(found["list"][1])
    assert "as loss, list: it is NaN" in caplog.text
    assert "name" not in found


@pytest.mark.parametrize("values", [["a", "b", NAN], [None]])
def test_a_loss_that_is_no_number_is_nan_too(values):
    assert math.isnan(median_loss(values))


@pytest.mark.parametrize(
    ("few", "expected"),
    [([5e-324, 1.0, 5e-324], 5e-324), ([5e-324, 5e-324], 5e-324), ([1.7e308, 1.6e308], 1.65e308)],
)
def test_the_smallest_and_the_largest_numbers_have_a_median(few, expected):
    assert median(few) == pytest.approx(expected)
    assert median(few) > 0


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
def test_medians_of_anything_are_numbers_that_are_not_infinite(reports):
    for value in median_metrics(reports).values():
        for number in value if isinstance(value, list) else [value]:
            assert isinstance(number, float)
            assert not math.isinf(number)


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


def test_what_a_users_function_raises_is_logged_with_its_traceback(caplog):
    assert guarded(lambda a, b: a + b, 1, 2) == 3

    def accuracy(report):
        return report["accuracy"] / len(report)

    assert guarded(accuracy, {}) is None
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    for shown in (
        "accuracy` failed",
        "Traceback (most recent",
        'report["accuracy"] / len(',
        "KeyError",
    ):
        assert shown in record.getMessage()


def test_a_result_that_cannot_be_read_is_the_functions_fault(caplog):
    assert guarded(lambda: 3, read=dict) is None
    assert "TypeError" in caplog.text


def test_what_a_client_wrote_is_cut_in_a_traceback(caplog):
    def convert(text):
        return float(text)

    def endless(text):
        return endless(text)

    guarded(convert, "\x1b[31m\nfake line " * 10**5)
    guarded(endless, "")
    first, second = (record.getMessage() for record in caplog.records)
    assert "\x1b" not in first
    assert "\nfake line" not in first
    assert max(len(first), len(second)) < 3000
