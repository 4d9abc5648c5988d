"""`RobustGrid` in one process, with nodes that send messages that Flower's own code would not send."""

import math

import numpy as np
import pytest
from flower import message
from flwr.app import ConfigRecord, Error, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from grids import (
    FIRST,
    HOSTILE,
    RULE,
    START,
    AnsweringGrid,
    N,
    answer_with,
    arrays_of,
    evaluate_messages,
    except_for,
    honest,
    record,
    start,
    train_messages,
)

from flwr_byzantine.serverapp import RobustGrid

METRICS = {"num-examples": 10, "loss": 0.5}
POISON = {name: np.full_like(array, 1e6) for name, array in START.items()}


def unchecked(kind, content):
    """A record that holds values which Flower's own checks would refuse."""
    made = kind()
    vars(made)["_data"].update(content)
    return made


def calls_of(grid):
    """The replies to a training call and to an evaluation call."""
    return [
        list(grid.send_and_receive(messages(START)))
        for messages in (train_messages, evaluate_messages)
    ]


def check_clean(replies):
    """Check what every app may rely on."""
    for reply in replies:
        if reply.has_error():
            assert not reply.has_content()
            continue
        assert set(reply.content) <= {"arrays", "metrics"}
        assert set(reply.content["metrics"]) == {"num-examples", "loss"}
        for value in reply.content["metrics"].values():
            assert type(value) in (int, float)
            assert math.isfinite(value)
            assert value > 0
        for array in reply.content.array_records.values():
            assert all(np.abs(a).max() < 10 for a in arrays_of(array).values())


# Messages that are not replies.


@pytest.mark.parametrize("node", [4242, 1, -1])
def test_a_reply_of_a_node_that_was_not_asked_has_no_vote_and_is_refused(node):
    def lie(i, sent):
        found = message(0, answer_with(POISON, METRICS), sent.metadata.message_type)
        vars(found.metadata)["_src_node_id"] = node
        return found

    grid = RobustGrid(AnsweringGrid(except_for(lie)), RULE)
    for replies in calls_of(grid):
        check_clean(replies)
        assert [r.metadata.src_node_id for r in replies if r.has_error()] == [node]
    found = {r.client: r for r in grid.audit}
    assert found[str(node)].verdict == "dropped"
    assert found[str(FIRST + HOSTILE)].verdict == "failed"
    result = start(FedAvg(), RobustGrid(AnsweringGrid(except_for(lie)), RULE))
    assert np.abs(result.arrays["a"].numpy()).max() < 10


@pytest.mark.parametrize("kind", ["query", "train.more", None])
def test_a_reply_of_another_type_is_refused(kind):
    def lie(i, sent):
        found = message(FIRST + i, answer_with(POISON, METRICS))
        vars(found.metadata)["_message_type"] = kind
        return found

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        check_clean(replies)
        assert [r.has_error() for r in replies] == [i == HOSTILE for i in range(N)]
        assert "not asked for a message of type" in replies[HOSTILE].error.reason


def test_an_error_that_holds_content_too_is_an_error_alone():
    def lie(i, sent):
        found = message(FIRST + i, answer_with(POISON, METRICS), sent.metadata.message_type)
        vars(found)["_error"] = Error(7, "boom")
        return found

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        check_clean(replies)
        assert replies[HOSTILE].error.reason == "boom"


@pytest.mark.parametrize("content", [None, "text", [1]])
def test_a_reply_that_holds_no_records_is_refused(content):
    def lie(i, sent):
        found = message(FIRST + i, RecordDict(), sent.metadata.message_type)
        vars(found)["_content"] = content
        return found

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        check_clean(replies)
        assert [r.has_error() for r in replies] == [i == HOSTILE for i in range(N)]


# Records with values that Flower's own checks would refuse.


class Evil:
    def __len__(self):
        raise RuntimeError("no")


ODD_METRICS = {
    "booleans": {"num-examples": True, "loss": False},
    "numbers of numpy": {"num-examples": np.int64(9), "loss": np.float32(2)},
    "arrays without axes": {"num-examples": np.array(9), "loss": np.array(9)},
    "whole numbers beyond floats": {"num-examples": 2**70, "loss": 2**2000},
    "text": {"num-examples": "10", "loss": "x"},
    "complex numbers": {"num-examples": 1j, "loss": 1j},
    "lists of anything": {"num-examples": [10], "loss": [1, "x", None]},
    "keys that are no text": {**METRICS, 1.5: 1, None: 2, ("a",): 3, b"x": 4},
    "values without a length": {**METRICS, "evil": Evil(), "nested": [[]], "mapping": {}},
}


@pytest.mark.parametrize("kind", ODD_METRICS)
def test_metrics_of_other_types(kind):
    def lie(i, sent):
        content = honest(i, sent)
        content["metrics"] = unchecked(MetricRecord, ODD_METRICS[kind])
        return content

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        assert len(replies) == N
        check_clean(replies)


ODD_RECORDS = {
    "keys of a configuration": {"told": unchecked(ConfigRecord, {1: 2, "a": 3, None: object()})},
    "names of records": {7: ConfigRecord({"a": 1}), "told": {"a": 1}},
}


@pytest.mark.parametrize("kind", ODD_RECORDS)
def test_records_of_other_types(kind):
    def lie(i, sent):
        return unchecked(RecordDict, {**honest(i, sent), **ODD_RECORDS[kind]})

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        assert len(replies) == N
        check_clean(replies)


def test_lists_in_records_of_configuration_hold_what_most_lists_hold():
    def told(i, sent):
        content = honest(i, sent)
        content["told"] = ConfigRecord({"layers": ["x", "y"] if i == HOSTILE else [1, 2]})
        return content

    for replies in calls_of(RobustGrid(AnsweringGrid(told), RULE)):
        assert [reply.content["told"]["layers"] for reply in replies] == [[1, 2]] * N


# Rounds that ask only few nodes.


def uncounted(i, sent):
    content = honest(i, sent)
    del content["metrics"]["num-examples"]
    return content


def renamed(i, sent):
    content = honest(i, sent)
    return RecordDict({"m": content["metrics"], **content.array_records})


@pytest.mark.parametrize("lie", [uncounted, renamed, lambda i, sent: RecordDict()])
@pytest.mark.parametrize("liars", [{0}, {0, 1}])
def test_few_hostile_replies_do_not_decide_what_replies_of_small_evaluations_look_like(lie, liars):
    def answer(i, sent):
        return (lie if i in liars else honest)(i, sent)

    grid = RobustGrid(AnsweringGrid(answer), RULE)
    asked = evaluate_messages(START) if len(liars) == 2 else []
    for messages in ([asked] if asked else []) + [evaluate_messages(START, len(liars) + 1)]:
        replies = list(grid.send_and_receive(messages))
    refused = [i in liars and lie is not renamed for i in range(len(replies))]
    assert [reply.has_error() for reply in replies] == refused
    assert set(replies[-1].content["metrics"]) == {"num-examples", "loss"}


def test_a_small_evaluation_of_hostile_nodes_alone_goes_by_earlier_ones():
    grid = RobustGrid(AnsweringGrid(honest), RULE)
    for _ in range(9):
        list(grid.send_and_receive(evaluate_messages(START, 2)))
    grid.grid.answer = uncounted
    for _ in range(3):
        assert all(
            reply.has_error() for reply in grid.send_and_receive(evaluate_messages(START, 2))
        )


def test_nodes_may_change_what_their_replies_look_like():
    grid = RobustGrid(AnsweringGrid(honest), RULE)
    for _ in range(5):
        list(grid.send_and_receive(train_messages(START)))
    grid.grid.answer = renamed
    for reply in grid.send_and_receive(train_messages(START)):
        assert set(reply.content) == {"arrays", "m"}


def test_a_record_of_arrays_named_as_that_of_metrics():
    def lie(i, sent):
        return RecordDict({"metrics": record(START), "arrays": MetricRecord(METRICS)})

    for replies in calls_of(RobustGrid(AnsweringGrid(except_for(lie)), RULE)):
        check_clean(replies)
