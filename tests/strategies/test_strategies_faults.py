"""Whatever one client sends, in either API, the round survives it and names the client that it drops."""

import io

import numpy as np
import pytest
from cases import every_strategy, gaussian
from flower import Sent, TrainApi, counted, every_api, flat, message, replies_of, strategy_of
from flwr.app import RecordDict
from hostile import (
    ALL_MALFORMED,
    ALL_NUMBERS,
    INF,
    MORE_RECORDS,
    NAN,
    RECORDS,
    SEEN_RECORDS,
    Lie,
    good,
    more_records,
    other_records,
)

from flwr_byzantine import TooFewUpdatesError, rules

MODEL = {"w": np.zeros((3, 4), np.float32), "b": np.zeros(2, np.float32)}


def split(row):
    return {"w": row[:12].reshape(3, 4), "b": row[12:]}


GOOD = {"w": np.ones((3, 4), np.float32), "b": np.ones(2, np.float32)}


def run_round(api, reply, f=2, known=True, rule="TrimmedMean", x=None):
    """Play a round of ten good clients and one other. Return the strategy, its result, and the updates."""
    x = gaussian(10, 14, dtype=np.float32) if x is None else x
    strategy = getattr(api.ours, rule)(**{api.f_name: f})
    if known:
        api.hand_out(strategy, MODEL)
    good = replies_of(api, x, split)
    tensors, metrics = api.aggregate(strategy, [reply, *good])
    return strategy, tensors, metrics, x


def check_dropped(api, reply, known):
    strategy, tensors, metrics, x = run_round(api, reply, known=known)
    np.testing.assert_array_equal(flat(tensors), rules.TrimmedMean(2)(x))  # f is not lowered
    assert list(strategy.aggregator.last.dropped) == ["7"]
    assert strategy.aggregator.last.dropped["7"]
    assert (
        metrics["byzantine/num_received"],
        metrics["byzantine/num_dropped"],
        metrics["byzantine/skipped"],
    ) == (11, 1, 0)


def check_accepted(api, reply, update):
    strategy, tensors, metrics, x = run_round(api, reply)
    assert strategy.aggregator.last.dropped == {}
    expected = rules.TrimmedMean(2)(np.concatenate([[update], x]))
    np.testing.assert_array_equal(flat(tensors), expected)
    assert (
        metrics["byzantine/num_received"],
        metrics["byzantine/num_dropped"],
        metrics["byzantine/skipped"],
    ) == (11, 0, 0)


@every_api
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("fault", ALL_MALFORMED)
def test_malformed_tensors_drop_the_client(api, known, fault):
    check_dropped(api, api.reply(Sent(7, ALL_MALFORMED[fault](GOOD).tensors)), known)


@every_api
@pytest.mark.parametrize("lie", ALL_NUMBERS)
def test_lies_neither_weigh_nor_raise(api, lie):
    sent = ALL_NUMBERS[lie](GOOD)
    values = flat([np.load(io.BytesIO(data)) for data in sent.tensors.values()])
    with np.errstate(over="ignore"):
        update = values.astype(np.float32)
    check_accepted(api, api.reply(Sent(7, **vars(sent))), update)


@pytest.mark.parametrize("fault", [*RECORDS, *MORE_RECORDS])
def test_malformed_messages(fault):
    sent = Lie(good(GOOD))
    reply = message(7, RecordDict((other_records(sent) | more_records(sent))[fault]))
    if fault in SEEN_RECORDS:
        check_accepted(TrainApi(), reply, np.ones(14, np.float32))
    else:
        check_dropped(TrainApi(), reply, known=True)


@every_api
def test_error_replies_are_no_updates(api):
    strategy, tensors, metrics, x = run_round(api, api.error(7))
    np.testing.assert_array_equal(flat(tensors), rules.TrimmedMean(2)(x))  # f is not lowered
    assert strategy.aggregator.last.dropped == {}
    assert metrics["byzantine/num_received"] == 10


@every_api
@pytest.mark.parametrize("second", ["update", "malformed"])
def test_a_node_counts_once(api, second):
    """A second reply of a node is ignored. It is not a fault of the first reply."""
    again = GOOD if second == "update" else {}
    x = gaussian(10, 14, dtype=np.float32)
    strategy = api.ours.TrimmedMean(**{api.f_name: 2})
    tensors, metrics = api.aggregate(
        strategy, [*replies_of(api, x, split), *[api.reply(Sent(104, again))] * 5]
    )
    np.testing.assert_array_equal(flat(tensors), rules.TrimmedMean(2)(x))
    assert counted(metrics, "num_received", "num_dropped") == (10, 0)


def round_with_two_dropped(api, case, n, f=3, **options):
    """Play a round of n good and two malformed replies. Return the strategy, its result, and the updates."""
    x = gaussian(n, 14, dtype=np.float32)
    strategy = strategy_of(api, case, f, **options)
    api.hand_out(strategy, MODEL)
    bad = [api.reply(Sent(1, {})), api.reply(Sent(999, {**GOOD, "b": b"?"}))]
    tensors, metrics = api.aggregate(strategy, [*bad, *replies_of(api, x, split)])
    assert set(strategy.aggregator.last.dropped) == {"1", "999"}
    assert metrics["byzantine/num_dropped"] == 2
    return strategy, tensors, metrics, x


@every_api
@every_strategy
@pytest.mark.parametrize("on_dropped", ["keep_f", "lower_f"])
def test_every_rule_keeps_f_whatever_is_dropped(api, case, on_dropped):
    """f is not lowered if the other replies are enough for the promised f."""
    n = case.least(3)
    _, tensors, metrics, x = round_with_two_dropped(api, case, n, on_dropped=on_dropped)
    np.testing.assert_array_equal(flat(tensors), case.make(3)(x))
    assert metrics["byzantine/f_lowered_by"] == metrics["byzantine/skipped"] == 0


@every_api
@every_strategy
def test_every_rule_skips_a_round_in_which_too_few_are_left(api, case, caplog):
    if case.least(3) == case.least(0):
        pytest.skip("needs one reply, whatever f is")
    n = case.least(3) - 1
    strategy, tensors, metrics, _ = round_with_two_dropped(api, case, n)
    assert tensors is None
    assert counted(metrics, "skipped", "f_lowered_by") == (1, 0)
    assert f"{n} usable replies" in strategy.aggregator.last.reason
    assert "2 others were dropped" in strategy.aggregator.last.reason
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for client, why in (("1", "tensors"), ("999", "not an .npy file")):
        assert any(f"dropped client {client}: " in line and why in line for line in lines)


@every_api
@every_strategy
@pytest.mark.parametrize("by", [1, 2])
def test_every_rule_lowers_f_where_that_is_asked_for(api, case, by, caplog):
    """f is lowered to the largest f for which the other replies are enough."""
    n = case.least(3 - by)
    if n == case.least(3):
        pytest.skip("needs one reply, whatever f is")
    strategy, tensors, metrics, x = round_with_two_dropped(api, case, n, on_dropped="lower_f")
    np.testing.assert_array_equal(flat(tensors), case.make(3 - by)(x))
    assert counted(metrics, "skipped", "f_lowered_by") == (0, by)
    assert any(f"f is lowered by {by}" in record.getMessage() for record in caplog.records)
    api.aggregate(strategy, replies_of(api, gaussian(case.least(3), 14), split))
    assert strategy.aggregator.last.f_lowered_by == 0  # it was lowered for that round only


@every_api
@every_strategy
def test_no_rule_lowers_f_by_more_than_was_dropped(api, case):
    n = case.least(0)
    if n == case.least(3):
        pytest.skip("needs one reply, whatever f is")
    strategy, tensors, metrics, _ = round_with_two_dropped(api, case, n, on_dropped="lower_f")
    assert tensors is None
    assert counted(metrics, "skipped", "f_lowered_by") == (1, 0)
    assert f"needs {case.least(3)}" in strategy.aggregator.last.reason


@every_api
def test_old_versions_do_not_switch_a_rule_off(api):
    """Of ten honest nodes, two send other shapes. There is one attacker, at 1e20."""
    x = gaussian(9, 14, dtype=np.float32)
    x[0] = 1e20
    old = [api.reply(Sent(node, {**GOOD, "w": np.ones((4, 4), np.float32)})) for node in (7, 8)]
    strategy = api.ours.TrimmedMean(**{api.f_name: 2})
    api.hand_out(strategy, MODEL)
    tensors, _ = api.aggregate(strategy, [*old, *replies_of(api, x, split)])
    assert np.abs(flat(tensors)).max() < 10


@every_api
def test_an_old_version_is_not_taken_for_an_attacker(api):
    """With n = 5 and f = 2, one honest node is outdated. If f became 1, both attackers would decide."""
    x = gaussian(4, 14, dtype=np.float32)
    x[:2] = 1e20
    replies = [api.reply(Sent(7, {})), *replies_of(api, x, split)]
    for on_too_few in ("skip", "raise"):
        strategy = api.ours.TrimmedMean(**{api.f_name: 2}, on_too_few=on_too_few)
        api.hand_out(strategy, MODEL)
        if on_too_few == "skip":
            assert api.aggregate(strategy, replies)[0] is None
        else:
            with pytest.raises(TooFewUpdatesError, match=r"Dropped: 7 \(0 tensors"):
                api.aggregate(strategy, replies)


@every_api
def test_rules_without_f_say_when_most_replies_were_dropped(api, caplog):
    """The median of one reply is that reply."""
    x = gaussian(4, 14, dtype=np.float32)
    for dropped, warned in ((3, False), (4, True)):
        caplog.clear()
        strategy = api.ours.Median()
        api.hand_out(strategy, MODEL)
        bad = [api.reply(Sent(i, {})) for i in range(dropped)]
        api.aggregate(strategy, [*bad, *replies_of(api, x, split)])
        assert any("has no f" in r.getMessage() for r in caplog.records) == warned


@every_api
@pytest.mark.parametrize("wrong", ["lower", None, True, 1])
def test_on_dropped_is_checked(api, wrong):
    with pytest.raises(ValueError, match=r"Parameter `on_dropped` should be one of .*keep_f"):
        api.ours.Median(on_dropped=wrong)


@every_api
@every_strategy
def test_too_few_updates_keep_the_model(api, case):
    f, n = 2, case.least(2) - 1
    strategy = strategy_of(api, case, f)
    api.hand_out(strategy, MODEL)
    before = strategy.aggregator.model
    tensors, metrics = api.aggregate(
        strategy, replies_of(api, gaussian(n, 14), split) or [api.reply(Sent(1, {}))]
    )
    assert tensors is None
    assert metrics["byzantine/skipped"] == 1
    assert metrics["byzantine/num_received"] == max(n, 1)
    assert strategy.aggregator.model is before
    assert "needs" in strategy.aggregator.last.reason


@every_api
def test_only_malformed_replies_keep_the_model(api):
    for known in (True, False):
        strategy = api.ours.Krum(**{api.f_name: 1})
        if known:
            api.hand_out(strategy, MODEL)
        replies = [api.reply(Sent(i, {"w": b"noise", "b": b""})) for i in range(6)]
        tensors, metrics = api.aggregate(strategy, replies)
        assert tensors is None
        assert (
            metrics["byzantine/num_received"],
            metrics["byzantine/num_dropped"],
            metrics["byzantine/skipped"],
        ) == (6, 6, 1)


@every_api
@pytest.mark.parametrize("first", [True, False])
def test_without_a_model_the_majority_decides(api, first):
    """Neither the first nor the last reply determines the structure, even if others have the same one."""
    x = gaussian(8, 14, dtype=np.float32)
    liars = [api.reply(Sent(i if first else 900 + i, {"w": np.zeros((2, 2))})) for i in range(3)]
    good = replies_of(api, x, split)
    strategy = api.ours.TrimmedMean(**{api.f_name: 3})
    tensors, metrics = api.aggregate(strategy, [*liars, *good] if first else [*good, *liars])
    np.testing.assert_array_equal(flat(tensors), rules.TrimmedMean(3)(x))
    assert metrics["byzantine/num_dropped"] == 3


@every_api
def test_without_a_model_the_majority_sets_the_precision(api):
    x = gaussian(8, 14, dtype=np.float32)
    coarse = api.reply(Sent(1, split(np.ones(14, np.float16))))
    tensors, _ = api.aggregate(api.ours.Median(), [coarse, *replies_of(api, x, split)])
    assert {tensor.dtype for tensor in tensors} == {np.dtype(np.float32)}


@every_api
def test_names_of_nodes_are_never_the_clients_own(api):
    sent = Sent(7, {}, metrics={"cid": 100, "partition-id": 100})
    strategy, *_ = run_round(api, api.reply(sent))
    assert list(strategy.aggregator.last.dropped) == ["7"]


@every_api
def test_evaluation_survives_lies(api):
    replies = [api.evaluation(i, 0.5, accuracy=0.75) for i in range(5)]
    replies += [
        api.evaluation(7, NAN, 10**15, accuracy=INF),
        api.evaluation(8, 1e300, -1, accuracy=NAN, surprise=1.0),
        api.evaluation(9, 0.5),
    ]
    if api.name == "train":
        replies += [message(10, RecordDict(), "evaluate"), api.error(11)]
    assert api.evaluate(api.ours.Median(), replies) == {"loss": 0.5, "accuracy": 0.75}


@every_api
def test_dropped_clients_are_logged(api, caplog):
    run_round(api, api.reply(Sent(7, ALL_MALFORMED["transposed"](GOOD).tensors)))
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("7" in line and "(4, 3)" in line and "(3, 4)" in line for line in lines)
