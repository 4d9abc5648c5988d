"""`RobustGrid`: which mistakes raise an error with advice, and which ones it warns of."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg
from grids import FIRST, RULE, START, AnsweringGrid, N, honest, record, start, train_messages

import flwr_byzantine.serverapp
from flwr_byzantine import rules
from flwr_byzantine.serverapp import RobustGrid

# Mistakes that raise an error with advice.


def test_different_arrays_for_different_nodes_raise():
    messages = train_messages(START)[:5] + train_messages({**START, "b": np.zeros(2)})[5:]
    with pytest.raises(
        ValueError, match=r"same arrays for every node of one call.*in its own call"
    ):
        RobustGrid(AnsweringGrid(honest), RULE).send_and_receive(messages)


def test_equal_arrays_in_records_of_their_own_are_the_same():
    messages = [train_messages(START)[i] for i in range(N)]
    messages = [message for i in range(N) for message in train_messages(START)[i : i + 1]]
    replies = RobustGrid(AnsweringGrid(honest), RULE).send_and_receive(messages)
    assert not any(reply.has_error() for reply in replies)


@pytest.mark.parametrize("records", [{}, {"a": record(START), "b": record(START)}])
def test_training_without_one_model_raises(records):
    messages = [Message(RecordDict(dict(records)), FIRST, "train")]
    with pytest.raises(
        ValueError, match="Parameter `messages` should be training messages with one"
    ):
        RobustGrid(AnsweringGrid(honest), RULE).send_and_receive(messages)


def test_one_node_a_call_raises():
    """With one node a call, every round would be skipped, but the app would report success."""
    inner = AnsweringGrid(honest)
    with pytest.raises(ValueError, match=r"a single one, and Phocas\(trim=2\) needs 5\. Collect"):
        RobustGrid(inner, RULE).send_and_receive(train_messages(START, 1))
    assert not inner.sent
    for options in ({"rule": rules.Median()}, {"rule": RULE, "bound": "warn"}):
        replies = RobustGrid(inner, **options).send_and_receive(train_messages(START, 1))
        assert not next(iter(replies)).has_error()


def test_messages_of_the_aggregate_fit_api_raise():
    content = RecordDict({"fitins.parameters": record(START), "fitins.config": ConfigRecord()})
    with pytest.raises(ValueError, match=r"flwr_byzantine.ByzantineRobust\(strategy, rule\)"):
        RobustGrid(AnsweringGrid(honest), RULE).send_and_receive([Message(content, FIRST, "train")])


def test_trees_raise():
    trees = {"0": np.frombuffer(b'{"trees": 1}', np.uint8)}
    with pytest.raises(ValueError, match="FedXgb"):
        RobustGrid(AnsweringGrid(honest), RULE).send_and_receive(train_messages(trees))


@pytest.mark.parametrize("kind", ["train", "train.more", "evaluate"])
def test_pushing_raises_with_advice(kind):
    inner = AnsweringGrid(honest)
    with pytest.raises(ValueError, match=r"grid\.send_and_receive"):
        RobustGrid(inner, RULE).push_messages(train_messages(START, kind=kind))
    assert not inner.sent


def test_queries_pass():
    grid = RobustGrid(AnsweringGrid(honest), RULE)
    queries = [Message(RecordDict(), FIRST + i, "query") for i in range(3)]
    replies = list(grid.send_and_receive(queries))
    assert [reply.content["config"]["asked"] for reply in replies] == [0, 1, 2]
    pulled = list(grid.pull_messages(grid.push_messages(queries)))
    assert [reply.content["config"]["asked"] for reply in pulled] == [0, 1, 2]
    assert grid.audit == ()


@pytest.mark.parametrize("strategy", [
    flower.FedXgbBagging(), flower.FedXgbCyclic(), flower.Bulyan(num_malicious_nodes=1),
])  # fmt: skip
def test_strategies_that_a_rule_cannot_serve_are_refused(strategy):
    with pytest.raises(
        ValueError, match="Parameter `strategy` should be one that averages replies"
    ):
        strategy.start(RobustGrid(AnsweringGrid(honest), RULE), record({"0": np.ones(3)}))


def test_an_accountant_is_refused_and_noise_is_warned_of(caplog):
    class Accounting(FedAvg):
        accountant = object()

    with pytest.raises(ValueError, match="one without an accountant"):
        start(Accounting(), RobustGrid(AnsweringGrid(honest), RULE))
    private = flower.DifferentialPrivacyServerSideFixedClipping(
        FedAvg(), noise_multiplier=0.1, clipping_norm=1.0, num_sampled_clients=N
    )
    start(private, RobustGrid(AnsweringGrid(honest), RULE))
    assert "Do not report a privacy budget" in caplog.text


def test_a_strategy_that_is_robust_already_is_warned_of(caplog):
    start(flwr_byzantine.serverapp.Median(), RobustGrid(AnsweringGrid(honest), RULE))
    assert "One of the two is enough" in caplog.text


@pytest.mark.parametrize(("arguments", "text"), [
    ((FedAvg(), RULE), "Parameter `grid` should be Flower's grid"),
    ((RULE, None), "Parameter `grid` should be Flower's grid"),
    ((AnsweringGrid(honest), FedAvg()), "Parameter `rule` should be a rule"),
    ((AnsweringGrid(honest), rules.Phocas), "Pass a rule, not its class"),
    ((RobustGrid(AnsweringGrid(honest), RULE), RULE), "One rule is enough"),
])  # fmt: skip
def test_users_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        RobustGrid(*arguments)


@pytest.mark.parametrize(("options", "text"), [
    ({"payload": "models"}, "Parameter `payload` should be one of"),
    ({"on_too_few": "stop"}, "Parameter `on_too_few`"),
    ({"weighted_by_key": 3}, "Parameter `weighted_by_key`"),
    ({"cap_examples": 1}, "Parameter `cap_examples`"),
])  # fmt: skip
def test_users_options(options, text):
    with pytest.raises(ValueError, match=text):
        RobustGrid(AnsweringGrid(honest), RULE, **options)


def test_unknown_options_raise():
    for unknown in ({"learning_rate": 0.1}, {"num_malicious_nodes": 2}):
        with pytest.raises(TypeError, match=next(iter(unknown))):
            RobustGrid(AnsweringGrid(honest), RULE, **unknown)


def test_no_attacker_is_warned_of(caplog):
    RobustGrid(AnsweringGrid(honest), rules.Phocas(0))
    assert "RobustGrid protects from no attacker: its `trim` is 0" in caplog.text
