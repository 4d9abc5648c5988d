"""`RobustGrid`: apps of the Message API send their messages through it. Nothing else in them changes."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
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
    answer_with,
    arrays_of,
    assert_close,
    evaluate_messages,
    except_for,
    honest,
    lying,
    one_round,
    record,
    start,
    train_messages,
    trained,
)

from flwr_byzantine import TooFewUpdatesError, rules
from flwr_byzantine.audit import read_audit
from flwr_byzantine.serverapp import ByzantineRobust, RobustGrid

# The messages that an app sends and receives.


def test_every_accepted_reply_holds_the_aggregate_in_a_record_of_its_own():
    _, replies = one_round()
    expected = aggregate_of(RULE, range(N))
    assert [reply.metadata.src_node_id for reply in replies] == [FIRST + i for i in range(N)]
    for reply in replies:
        found = arrays_of(reply.content["arrays"])
        assert_close(found, expected)
        assert {k: (a.dtype, a.shape) for k, a in found.items()} == {
            k: (a.dtype, a.shape) for k, a in START.items()
        }
    first, second = (reply.content["arrays"] for reply in replies[:2])
    while first:
        first.popitem()
    assert list(second) == list(START)


def test_the_apps_model_and_the_nodes_own_messages_stay_as_they_are():
    kept = []

    def answer(i, message):
        kept.append(honest(i, message))
        return kept[-1]

    _, _ = one_round(answer)
    for i, content in enumerate(kept):
        np.testing.assert_array_equal(arrays_of(content["arrays"])["a"], trained(START, i)["a"])
        assert content["metrics"]["loss"] == 0.5 + i


def test_metrics_are_medians_and_counts_are_the_nodes_own():
    _, replies = one_round()
    assert [reply.content["metrics"]["num-examples"] for reply in replies] == list(range(10, 20))
    assert {reply.content["metrics"]["loss"] for reply in replies} == {5.0}


STRATEGIES = {
    "FedAvg": {},
    "FedAdam": {"eta": 0.1},
    "FedYogi": {"eta": 0.1},
    "FedAdagrad": {"eta": 0.1},
    "FedAvgM": {"server_momentum": 0.9},
    "FedMedian": {},
    "FedTrimmedAvg": {},
    "FedProx": {"proximal_mu": 0.1},
    "MultiKrum": {"num_malicious_nodes": 2},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_behind_the_grid_is_the_strategy_in_a_rules_wrapper(name):
    def make():
        return getattr(flower, name)(**STRATEGIES[name])

    answer = except_for(lying("1e20"))
    floats = {k: START[k] for k in ("a", "b")}
    behind = make().start(RobustGrid(AnsweringGrid(answer), rule=RULE), record(floats), 3)
    around = ByzantineRobust(make(), rule=RULE).start(AnsweringGrid(answer), record(floats), 3)
    assert_close(arrays_of(behind.arrays), arrays_of(around.arrays))
    for found, expected in (
        (behind.train_metrics_clientapp, around.train_metrics_clientapp),
        (behind.evaluate_metrics_clientapp, around.evaluate_metrics_clientapp),
    ):
        assert [found[i]["loss"] for i in (1, 2, 3)] == pytest.approx(
            [expected[i]["loss"] for i in (1, 2, 3)]
        )


class OwnStart(FedAvg):
    """A strategy of an app, with a loop of its own."""

    def start(self, grid, initial_arrays, num_rounds=3, **kwargs):
        arrays = initial_arrays
        for server_round in range(1, num_rounds + 1):
            sent = self.configure_train(server_round, arrays, ConfigRecord(), grid)
            arrays, self.metrics = self.aggregate_train(
                server_round, grid.send_and_receive(sent, timeout=10)
            )
        return arrays


def test_an_own_start():
    arrays = OwnStart().start(
        RobustGrid(AnsweringGrid(except_for(lying("NaN"))), rule=RULE), record(START)
    )
    plain = OwnStart().start(AnsweringGrid(honest), record(START))
    for name, array in arrays_of(arrays).items():
        assert np.abs(array - arrays_of(plain)[name]).max() < 0.2


def raw_loop(grid, model=START, rounds=3):
    """The loop of an app that has no strategy."""
    for _ in range(rounds):
        replies = list(grid.send_and_receive(train_messages(model)))
        answers = [reply.content for reply in replies if not reply.has_error()]
        weights = [content["metrics"]["num-examples"] for content in answers]
        sums = {
            name: sum(
                w * content["arrays"][name].numpy()
                for w, content in zip(weights, answers, strict=True)
            )
            for name in model
        }
        model = {name: np.asarray(total / sum(weights)) for name, total in sums.items()}
    return model


def test_a_raw_loop():
    found = raw_loop(RobustGrid(AnsweringGrid(except_for(lying("1e20"))), rule=RULE))
    plain = raw_loop(AnsweringGrid(honest))
    for name, array in found.items():
        assert np.abs(array - plain[name]).max() < 0.2


# Rounds without a result.


def test_a_skipped_round_hands_back_the_global_model():
    grid, replies = one_round(except_for(lying("wrong shape")), rule=rules.Krum(3), nodes=9)
    assert grid.metrics["byzantine/skipped"] == 1
    for i, reply in enumerate(replies):
        if i == HOSTILE:
            assert "shape" in reply.error.reason
            continue
        for name, array in arrays_of(reply.content["arrays"]).items():
            np.testing.assert_array_equal(array, START[name])


def test_too_few_updates_can_end_the_run():
    with pytest.raises(TooFewUpdatesError, match="Round 1 has no robust result"):
        one_round(rule=rules.Krum(4), on_too_few="raise")


def test_a_round_that_asks_too_few_nodes_is_warned_of(caplog):
    one_round(rule=rules.Krum(4))
    assert "Round 1 asks 10 nodes, but Krum(num_byzantine=4) needs 11" in caplog.text


# Apps with unusual messages.


def renamed(i, message):
    content = honest(i, message)
    return RecordDict({"model": content["arrays"], "stats": content["metrics"]})


def test_records_keep_the_names_that_most_nodes_give_them():
    _, replies = one_round(except_for(honest, 0), nodes=3, rule=rules.Median())
    _, replies = one_round(lambda i, m: honest(i, m) if i == HOSTILE else renamed(i, m))
    assert all(list(reply.content) == ["model", "stats"] for reply in replies)


def test_replies_without_metrics_are_fine_where_most_have_none():
    def bare(i, message):
        return RecordDict({"arrays": honest(i, message)["arrays"]})

    _, replies = one_round(bare)
    assert all(list(reply.content) == ["arrays"] for reply in replies)
    _, replies = one_round(lambda i, m: honest(i, m) if i == HOSTILE else bare(i, m))
    assert [reply.has_error() for reply in replies] == [i == HOSTILE for i in range(N)]


def test_another_key_of_the_number_of_examples():
    def counted(i, message):
        content = honest(i, message)
        return answer_with(arrays_of(content["arrays"]), {"n": -1 if i == 0 else i, "loss": 0.5})

    _, replies = one_round(counted, weighted_by_key="n")
    counts = [reply.content["metrics"]["n"] for reply in replies]
    assert counts[1:] == list(range(1, N))
    assert counts[0] == 5
    _, replies = one_round(counted)  # without the key, it is a metric like any other
    assert {reply.content["metrics"]["n"] for reply in replies} == {4.5}


def test_records_of_configuration_pass_where_most_send_them():
    def told(i, message):
        content = honest(i, message)
        told = {"device": i} if i == HOSTILE else {"device": f"cpu{i}"}
        content["told"] = ConfigRecord(told)
        if i == 1:
            content["alone"] = ConfigRecord({"x": 1})
        return content

    _, replies = one_round(told)
    devices = [reply.content["told"]["device"] for reply in replies]
    assert devices == [f"cpu{i}" if i != HOSTILE else "cpu0" for i in range(N)]
    assert not any("alone" in reply.content for reply in replies)


def test_counters_that_an_average_made_fractions_are_no_fault():
    """FedAvg turns counters into float64 averages, and nodes reply with whole numbers."""

    def counting(i, message):
        (arrays,) = message.content.array_records.values()
        model = arrays_of(arrays)
        if message.metadata.message_type == "train":
            model["steps"] = np.array(round(float(model["steps"])) + 1)
        return answer_with(trained(model, i), {"num-examples": 1, "loss": 0.5})

    grid = RobustGrid(AnsweringGrid(counting), RULE)
    result = start(FedAvg(fraction_evaluate=0), grid)
    assert {record.verdict for record in grid.audit} <= {"kept", "trimmed"}
    assert round(float(result.arrays["steps"].numpy())) == 10


def test_a_mixed_call_is_gated_by_kind():
    grid = RobustGrid(AnsweringGrid(honest), RULE)
    mixed = train_messages(START) + evaluate_messages({"a": np.zeros(1)}, 3)
    mixed.append(Message(RecordDict(), FIRST, "query"))
    replies = list(grid.send_and_receive(mixed))
    assert len(replies) == N + 4
    assert sum("arrays" in reply.content for reply in replies) == N


def test_two_replies_of_one_node_are_one_vote():
    grid = RobustGrid(AnsweringGrid(honest), RULE)
    replies = list(grid.send_and_receive(train_messages(START) + train_messages(START, 2)))
    assert [reply.has_error() for reply in replies] == [False] * N + [True] * 2
    assert "another reply" in replies[-1].error.reason


def test_nobody_asked_and_no_reply():
    grid = RobustGrid(AnsweringGrid(lambda i, message: None), RULE)
    assert list(grid.send_and_receive([])) == []
    assert list(grid.send_and_receive(train_messages(START))) == []
    assert {record.verdict for record in grid.audit} == {"failed"}


def test_gradients_come_back_as_their_aggregate():
    def gradients(i, message):
        return answer_with(
            {"a": np.full((3, 4), i, np.float32), "b": np.full(2, -float(i)), "steps": np.array(1)},
            {"num-examples": 1},
        )

    rule = rules.Clipping(4.0) >> rules.Mean()
    _, replies = one_round(gradients, rule=rule, payload="gradients")
    lengths = np.sqrt(14) * np.arange(N)
    factors = np.minimum(1, 4 / np.maximum(lengths, 1e-9))
    expected = (np.arange(N) * factors).mean()
    found = arrays_of(replies[0].content["arrays"])
    np.testing.assert_allclose(found["a"], expected, rtol=1e-6)
    np.testing.assert_allclose(found["b"], -expected, rtol=1e-6)
    _, replies = one_round(gradients, rule=rules.Krum(4), payload="gradients")
    assert not arrays_of(replies[0].content["arrays"])["a"].any()


# Features that the strategies have too.


def test_audit_metrics_and_the_round(tmp_path):
    log = tmp_path / "audit.jsonl"
    grid = RobustGrid(AnsweringGrid(except_for(lying("NaN"))), RULE, audit_log=log)
    assert grid.metrics == {}
    start(FedAvg(), grid, rounds=2)
    assert {record.round for record in grid.audit} == {1, 2}
    assert read_audit(log) == (list(grid.audit), 0)
    assert grid.metrics["byzantine/num_received"] == N
    start(FedAvg(), grid, rounds=2)  # the app trains a second time
    assert {record.round for record in grid.audit} == {1, 2, 3, 4}


def test_checkpoints_hold_what_the_rule_remembers(tmp_path):
    def rounds(grid, model, numbers):
        for i in numbers:
            messages = train_messages(model, **{"server-round": i})
            model = arrays_of(next(iter(grid.send_and_receive(messages))).content["arrays"])
        return model

    def grid(**options):
        return RobustGrid(AnsweringGrid(honest), rules.CenteredClipping(0.5), **options)

    through = rounds(grid(), START, range(1, 5))
    first = grid(checkpoint=tmp_path / "state")
    half = rounds(first, START, (1, 2))
    first.checkpoints.release()
    second = grid(checkpoint=tmp_path / "state")
    resumed = rounds(second, half, (3, 4))
    forgetful = rounds(grid(), half, (3, 4))
    for name in ("a", "b"):
        np.testing.assert_array_equal(resumed[name], through[name])
        assert not np.array_equal(forgetful[name], through[name])
    second.checkpoints.release()
    with pytest.raises(ValueError, match="Parameter `checkpoint` should belong to this strategy"):
        rounds(RobustGrid(AnsweringGrid(honest), RULE, checkpoint=tmp_path / "state"), START, (1,))


def test_options_of_the_strategies_work_here():
    weights = {FIRST + i: 1.0 for i in range(N)}
    grid = RobustGrid(
        AnsweringGrid(honest), rules.MultiKrum(2), pre_aggregation=rules.NearestNeighborMixing(2)
    )
    assert "NearestNeighborMixing" in repr(grid.rule)
    grid = RobustGrid(AnsweringGrid(honest), rules.Mean(), trusted_weights=weights, buffers=["b"])
    assert len(list(grid.send_and_receive(train_messages(START)))) == N
    grid.rule = rules.MultiKrum(2)
    assert grid.rule == rules.MultiKrum(2)


def test_it_is_a_grid_and_passes_on_the_rest():
    inner = AnsweringGrid(honest)
    grid = RobustGrid(inner, rule=RULE)
    assert list(grid.get_node_ids()) == list(inner.get_node_ids())
    assert [info.node_id for info in grid.get_nodes()] == list(inner.get_node_ids())
    assert grid.run is inner.run
    assert grid.color == "blue"
    assert grid.create_message(RecordDict(), "query", 1, "g").metadata.group_id == "g"
    with pytest.raises(AttributeError):
        grid.no_such_attribute  # noqa: B018
    assert "RobustGrid" in repr(grid)
    assert "pre_aggregation" in str(RobustGrid.__signature__)


def test_the_first_model_that_no_node_trains_is_named():
    def other(i, message):
        return answer_with({**trained(START, i), "more": np.ones(3)}, {"num-examples": 1})

    with pytest.raises(ValueError, match=r"`arrays` should be the model that nodes train.*`more`"):
        one_round(other)


def test_arrays_in_replies_to_evaluation_are_left_out_and_said(caplog):
    def answer(i, message):
        return answer_with({"x": np.ones(3)}, {"num-examples": 1, "loss": 0.5})

    grid = RobustGrid(AnsweringGrid(answer), RULE)
    for _ in range(2):
        replies = list(grid.send_and_receive(evaluate_messages(START)))
    assert all(list(reply.content) == ["metrics"] for reply in replies)
    assert [r.levelno for r in caplog.records if "hold arrays" in r.message] == [logging.WARNING]


def test_strategies_that_take_arrays_out_of_replies():
    class Popping(FedAvg):
        def aggregate_train(self, server_round, replies):
            replies = list(replies)
            for reply in replies:
                assert reply.content["arrays"].pop("steps") is not None
            return super().aggregate_train(server_round, replies)

    result = start(Popping(), RobustGrid(AnsweringGrid(honest), RULE), rounds=1)
    assert list(result.arrays) == ["a", "b"]


def test_threads_may_send_at_once():
    other = {"z": np.ones((5, 5))}

    def answer(i, message):
        time.sleep(0.002)
        return honest(i, message)

    grid = RobustGrid(AnsweringGrid(answer), RULE)

    def send(model):
        return [reply.has_error() for reply in grid.send_and_receive(train_messages(model))]

    with ThreadPoolExecutor(12) as pool:
        assert not any(map(any, pool.map(send, [START, other] * 6)))
    assert {record.round for record in grid.audit} == set(range(1, 13))
