"""`RobustGrid` with one hostile node of ten: what it sends, and what the app gets."""

import math

import numpy as np
import pytest
from flwr.app import Error, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg
from grids import (
    FIRST,
    HOSTILE,
    RULE,
    START,
    AnsweringGrid,
    N,
    aggregate_of,
    arrays_of,
    evaluate_messages,
    except_for,
    lying,
    one_round,
    record,
)
from hostile import ALL_MALFORMED, CATALOGUE, FINE, MORE_RECORDS, NAN, RECORDS, SEEN_RECORDS

from flwr_byzantine import rules
from flwr_byzantine.serverapp import RobustGrid

# One hostile node of ten.

KINDS = [*CATALOGUE, *RECORDS, *MORE_RECORDS]
DROPPED = {*ALL_MALFORMED, *RECORDS, *MORE_RECORDS} - SEEN_RECORDS


def check_replies(replies, dropped):
    """Check what every app may rely on."""
    assert len(replies) == N
    assert [r.metadata.src_node_id for r in replies if r.has_error()] == [FIRST + HOSTILE] * dropped
    for reply in replies:
        if reply.has_error():
            continue
        content = reply.content
        assert list(content) == ["arrays", "metrics"]
        assert set(content["metrics"]) == {"num-examples", "loss"}
        for value in content["metrics"].values():
            assert math.isfinite(value)
            assert value > 0
        assert content["metrics"]["num-examples"] < 2**63
        for name, array in arrays_of(content["arrays"]).items():
            assert array.shape == START[name].shape
            assert array.dtype == START[name].dtype
            assert np.isfinite(array).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_hostile_node(kind):
    grid, replies = one_round(except_for(lying(kind)))
    check_replies(replies, dropped=kind in DROPPED)
    assert [r.client for r in grid.audit if r.verdict == "dropped"] == [str(FIRST + HOSTILE)] * (
        kind in DROPPED
    )
    apart = aggregate_of(rules.Mean(), [i for i in range(N) if i != HOSTILE])
    for name, array in arrays_of(replies[0].content["arrays"]).items():
        if name in apart:
            assert np.abs(array - apart[name]).max() < 0.3


@pytest.mark.parametrize("kind", FINE)
def test_other_encodings_of_numbers_are_accepted(kind):
    _, replies = one_round(except_for(lying(kind, FINE)))
    check_replies(replies, dropped=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", [FedAvg, flower.FedAdam])
def test_a_run_with_one_hostile_node_ends_well(kind, strategy):
    grid = RobustGrid(AnsweringGrid(except_for(lying(kind))), rule=RULE)
    result = strategy().start(grid, record(START), 2)
    for array in arrays_of(result.arrays).values():
        assert np.isfinite(array).all()
    assert all(math.isfinite(m["loss"]) for m in result.train_metrics_clientapp.values())


HOSTILE_REPORTS = {
    "NaN loss": {"loss": NAN, "num-examples": 10},
    "huge loss": {"loss": 1e300, "num-examples": 10},
    "list for a loss": {"loss": [1.0, 2.0], "num-examples": 10},
    "extra key": {"loss": 0.5, "num-examples": 10, "more": 1},
    "NaN count": {"loss": 0.5, "num-examples": NAN},
    "infinite count": {"loss": 0.5, "num-examples": math.inf},
    "negative count": {"loss": 0.5, "num-examples": -1},
    "zero count": {"loss": 0.5, "num-examples": 0},
    "huge count": {"loss": 0.5, "num-examples": 1e300},
    "list for a count": {"loss": 0.5, "num-examples": [1, 2]},
    "no loss": {"num-examples": 10},
    "no count": {"loss": 0.5},
    "nothing": {},
    "too much": {"loss": 0.5, "num-examples": 10, "more": [0] * 10**6},
}


@pytest.mark.parametrize("kind", HOSTILE_REPORTS)
def test_one_hostile_report(kind):
    def lie(i, message):
        return RecordDict({"metrics": MetricRecord(HOSTILE_REPORTS[kind])})

    grid = RobustGrid(AnsweringGrid(except_for(lie)), rule=RULE)
    replies = list(grid.send_and_receive(evaluate_messages(START)))
    refused = kind in ("no count", "nothing", "too much")
    assert [reply.has_error() for reply in replies] == [refused and i == 3 for i in range(N)]
    good = [reply.content["metrics"] for reply in replies if not reply.has_error()]
    assert {tuple(sorted(metrics)) for metrics in good} == {("loss", "num-examples")}
    assert all(5 <= metrics["loss"] <= 6 for metrics in good)
    assert all(0 < metrics["num-examples"] < 2**63 for metrics in good)


@pytest.mark.parametrize("odd", [None, Error(1, "gone"), RuntimeError("boom")])
def test_nodes_that_fail_stay_errors(odd):
    def fail(i, message):
        if isinstance(odd, Exception):
            raise odd
        return odd

    grid, replies = one_round(except_for(fail))
    errors = [reply for reply in replies if reply.has_error()]
    assert len(replies) == N - (odd is None)
    assert [reply.metadata.src_node_id for reply in errors] == [FIRST + 3] * (odd is not None)
    assert [r.client for r in grid.audit if r.verdict == "failed"] == [str(FIRST + 3)]
