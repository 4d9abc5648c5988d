"""Which nodes are Byzantine, which messages stay unchanged, and which mistakes raise an error."""

import logging

import numpy as np
import pytest
from attacked import START as MODEL
from attacked import client_app, fit_run, fit_strategy, untouched
from flwr.app import Array, ArrayRecord, Error, MetricRecord, RecordDict
from flwr.server.strategy import FedAdam
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from grids import (
    FIRST,
    START,
    AnsweringGrid,
    arrays_of,
    evaluate_messages,
    honest,
    record,
    train_messages,
    trained,
)

from flwr_byzantine import ByzantineRobust, attacks, rules
from flwr_byzantine.attacks import BitFlip, LabelFlip, Omniscient, OnOff, PutAllFar, SignFlip
from flwr_byzantine.checks import ParameterError
from flwr_byzantine.clients import AttackSchedule
from flwr_byzantine.lab import AttackGrid, AttackStrategy
from flwr_byzantine.serverapp import RobustGrid
from simulations.catalog.placement import byzantine_clients

N = 10


def rounds_of(grid, rounds=1, **config):
    for _ in range(rounds):
        replies = list(grid.send_and_receive(train_messages(START, **config)))
    return replies


def sent_by(replies):
    return {m.metadata.src_node_id: arrays_of(m.content["arrays"]) for m in replies}


def test_only_arrays_of_byzantine_nodes_change():
    inner, answers = AnsweringGrid(honest), []
    send = inner.send_and_receive
    inner.send_and_receive = lambda *a, **k: answers.extend(send(*a, **k)) or list(answers)
    replies = rounds_of(AttackGrid(inner, SignFlip(), byzantine=[103, 107]))
    for number, (reply, answer) in enumerate(zip(replies, answers, strict=True)):
        if FIRST + number not in (103, 107):
            assert reply is answer
            continue
        assert reply is not answer
        assert arrays_of(answer.content["arrays"])["b"][0] == trained(START, number)["b"][0]
        assert reply.content["metrics"] is answer.content["metrics"]
        assert list(reply.content["arrays"]) == list(START)
        sent = arrays_of(reply.content["arrays"])
        np.testing.assert_allclose(sent["b"], 2 * START["b"] - trained(START, number)["b"])
        assert reply.content["arrays"]["steps"] == answer.content["arrays"]["steps"]


def test_other_messages_pass_untouched():
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), byzantine=N)
    (reply,) = list(grid.send_and_receive(evaluate_messages(START, 1)))
    assert reply.content["metrics"]["loss"] == 0.5
    assert list(grid.pull_messages(grid.push_messages(evaluate_messages(START, 1))))
    assert grid.color == "blue"
    assert list(grid.get_node_ids()) == list(range(FIRST, FIRST + N))
    with pytest.raises(ParameterError, match=r"send_and_receive.*or wrap clients"):
        grid.push_messages(train_messages(START))
    assert not grid.rounds
    assert grid.byzantine == ()


def test_train_messages_of_any_name_are_attacked():
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), byzantine=3)
    messages = train_messages(START, kind="train.local")
    assert len(list(grid.send_and_receive(messages))) == N
    assert len(grid.rounds[0].attacked) == 3


def test_off_nothing_changes():
    grid = AttackGrid(AnsweringGrid(honest), OnOff(SignFlip(), period=1), byzantine=3)
    rounds_of(grid, 4)
    assert [len(record.attacked) for record in grid.rounds] == [0, 3, 0, 3]
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), 3, schedule=AttackSchedule(start_round=8))
    rounds_of(grid, round=7)
    assert grid.rounds[0].server_round == 7
    assert grid.rounds[0].attacked == ()
    rounds_of(grid)  # the rounds of the attack count from this one
    assert len(grid.rounds[1].attacked) == 3
    assert AttackGrid(AnsweringGrid(honest), SignFlip(), 0).byzantine == ()


def test_who_is_drawn():
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), byzantine=3, seed=4)
    rounds_of(grid, 3)
    drawn = tuple(sorted(FIRST + i for i in byzantine_clients(N, 3, 4, "drawn")))
    assert [record.byzantine for record in grid.rounds] == [drawn] * 3
    assert grid.byzantine == drawn == grid.rounds[2].attacked
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), byzantine=0.25, redraw=True)
    rounds_of(grid, 5)
    assert {len(record.byzantine) for record in grid.rounds} == {3}  # 2.5, rounded up
    assert len({record.byzantine for record in grid.rounds}) > 1
    grid = AttackGrid(
        AnsweringGrid(honest), SignFlip(), lambda nodes, r: [n for n in nodes if n % 3 == r % 3]
    )
    rounds_of(grid, 2)
    assert grid.rounds[0].byzantine == (100, 103, 106, 109)
    assert grid.rounds[1].byzantine == (101, 104, 107)


def test_numbers_that_nodes_report():
    def reporting(number, message):
        content = honest(number, message)
        if message.metadata.message_type == "train":
            content["metrics"]["partition-id"] = N - 1 - number
        return content

    grid = AttackGrid(AnsweringGrid(reporting), SignFlip(), [0, 1], order_by="partition-id")
    rounds_of(grid)
    assert grid.byzantine == grid.rounds[0].attacked == (108, 109)
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), 2, order_by="partition-id")
    with pytest.raises(ParameterError, match=r"`order_by` should be a metric.*num-examples"):
        rounds_of(grid)
    grid = AttackGrid(AnsweringGrid(reporting), SignFlip(), [12], order_by="partition-id")
    with pytest.raises(ParameterError, match="12, which is none"):
        rounds_of(grid)


def test_errors_and_unreadable_replies_stay_and_the_rest_is_attacked(caplog):
    odd = {
        0: lambda m: Error(9, "no data"),
        1: lambda m: RecordDict({"arrays": ArrayRecord({"a": Array("f", (1,), "torch", b"x")})}),
        2: lambda m: RecordDict({"metrics": MetricRecord({"num-examples": 1})}),
        3: lambda m: RecordDict({"arrays": record({k: a[:1] for k, a in START.items() if a.ndim})}),
    }
    answer = lambda i, m: odd[i](m) if i in odd else honest(i, m)  # noqa: E731
    for attack in (SignFlip(), Omniscient()):
        grid = AttackGrid(AnsweringGrid(answer), attack, byzantine=[100, 101, 102, 103, 104])
        replies = rounds_of(grid)
        assert replies[0].error.reason == "no data"
        assert grid.rounds[0].attacked == (104,)
        assert "leaves out 101, 102, 103" in caplog.text


def test_without_an_honest_reply_attackers_are_as_they_are(caplog):
    def only_attackers(number, message):
        return honest(number, message) if number < 2 else Error(1, "gone")

    grid = AttackGrid(AnsweringGrid(only_attackers), Omniscient(), byzantine=[100, 101])
    rounds_of(grid)
    assert grid.rounds[0].attacked == ()
    assert "no honest reply" in caplog.text


def test_a_channel_corrupts_what_every_node_sends(caplog):
    grid = AttackGrid(AnsweringGrid(honest), BitFlip(bits=(32,)), byzantine=2)
    assert "The parameter `byzantine` has no effect on it" in caplog.text
    rounds_of(grid)
    assert grid.byzantine == ()
    assert len(grid.rounds[0].attacked) == N
    assert len(rounds_of(AttackGrid(AnsweringGrid(honest), BitFlip()))) == N


def test_several_records_are_attacked_in_order():
    def two(number, message):
        records = message.content.array_records
        return RecordDict({
            "more": record({"z": records["more"]["z"].numpy() + 1}),
            "arrays": record(trained(arrays_of(records["arrays"]), number)),
        })  # fmt: skip

    messages = train_messages(START)
    for message in messages:
        message.content["more"] = record({"z": np.zeros(2)})
    grid = AttackGrid(AnsweringGrid(two), SignFlip(scale=2), byzantine=[102])
    sent = list(grid.send_and_receive(messages))[2].content
    assert list(sent) == ["more", "arrays"]
    assert sent["more"]["z"].numpy().tolist() == [-2, -2]
    expected = START["b"] - 2 * (trained(START, 2)["b"] - START["b"])
    np.testing.assert_allclose(sent["arrays"]["b"].numpy(), expected)


def test_two_attacks_and_a_rule():
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), byzantine=[100])
    grid = AttackGrid(grid, PutAllFar(), byzantine=[101])
    sent = sent_by(rounds_of(grid))
    assert sent[100]["b"][0] < 1 < sent[102]["b"][0]
    assert abs(sent[101]["b"][0]) > 10
    for around in (grid, AttackGrid(AnsweringGrid(honest), PutAllFar(), byzantine=2)):
        robust = RobustGrid(around, rule=rules.Phocas(2))
        for arrays in sent_by(rounds_of(robust)).values():
            assert 1 < arrays["b"][0] < 3
    with pytest.raises(ParameterError, match=r"Write `grid = RobustGrid\(AttackGrid"):
        AttackGrid(RobustGrid(AnsweringGrid(honest), rule=rules.Phocas(2)), SignFlip(), 2)


def test_it_says_that_it_attacks(caplog):
    caplog.set_level(logging.WARNING)
    AttackGrid(AnsweringGrid(honest), SignFlip(), 2)
    assert caplog.text.count("Use it in simulations and tests only") == 1


INNER = AnsweringGrid(honest)
WRONG = {
    "text": ({"byzantine": "2"}, "`byzantine` should be a whole number"),
    "true": ({"byzantine": True}, "`byzantine` should be a whole number"),
    "negative": ({"byzantine": -1}, "`byzantine` should be a whole number"),
    "one": ({"byzantine": 1.0}, "`byzantine` should be a whole number"),
    "nobody": ({"byzantine": None}, "`byzantine` should be a whole number"),
    "words": ({"byzantine": ["a"]}, "`byzantine` should be a whole number"),
    "attack twice": ({"byzantine": SignFlip()}, "`byzantine` should be a whole number"),
    "rule": ({"attack": rules.Phocas(2)}, "`attack` should be an attack"),
    "class": ({"attack": SignFlip}, r"Pass an instance, as in `AttackGrid\(grid, SignFlip\(\)"),
    "swapped": ({"attack": 2, "byzantine": SignFlip()}, "`attack` should be an attack"),
    "no attack": ({"attack": "SignFlip"}, "`attack` should be an attack"),
    "one argument": ({"attack": lambda own: own}, r"attack\(own, rng\)"),
    "labels": ({"attack": LabelFlip()}, "LabelFlippingClient"),
    "random labels": ({"attack": attacks.RandomLabels()}, "LabelFlippingClient"),
    "no grid": ({"grid": None}, "`grid` should be Flower's grid"),
    "strategy": ({"grid": FedAvg()}, "Pass the `grid`"),
    "fit strategy": ({"grid": FedAdam}, "`grid` should be Flower's grid"),
    "seed": ({"seed": -1}, "`seed` should be"),
    "schedule": ({"schedule": 3}, "AttackSchedule"),
    "knows": ({"knows": "all"}, "`knows` should be one of"),
    "knows nobody": ({"knows": "attackers"}, "`knows` should be 'honest' for SignFlip"),
    "payload": ({"payload": "updates"}, "`payload` should be"),
    "redraw": ({"redraw": 1}, "`redraw` should be True or False"),
    "redrawn names": ({"redraw": True, "byzantine": [100]}, "`redraw` should be False"),
    "order_by": ({"order_by": 3}, "`order_by` should be"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_parameters_are_said_in_one_line(case):
    changed, message = WRONG[case]
    options = {"grid": INNER, "attack": SignFlip(), "byzantine": 2} | changed
    with pytest.raises(ParameterError, match=message) as error:
        AttackGrid(options.pop("grid"), options.pop("attack"), **options)
    assert "\n" not in str(error.value)


TOO_MANY = {
    "count": (SignFlip(), 11, "at most 10"),
    "all": (Omniscient(), 10, "less than the number of nodes, which is 10"),
    "unknown": (SignFlip(), [0, 1], r"0, which is none.*get_node_ids"),
    "unknown of a function": (SignFlip(), lambda nodes, r: [5], "5, which is none"),
}


@pytest.mark.parametrize("case", TOO_MANY)
def test_nodes_that_are_not_there_raise_before_training(case):
    attack, byzantine, message = TOO_MANY[case]
    inner = AnsweringGrid(honest)
    with pytest.raises(ParameterError, match=message):
        rounds_of(AttackGrid(inner, attack, byzantine))
    assert not inner.sent


def test_all_may_be_byzantine_where_nobody_needs_the_honest():
    for attack, knows in (
        (SignFlip(), "honest"),
        (attacks.InnerProductManipulation(), "attackers"),
    ):
        grid = AttackGrid(AnsweringGrid(honest), attack, N, knows=knows)
        rounds_of(grid)
        assert len(grid.rounds[0].attacked) == N


def test_legacy_messages_are_told_of_the_strategy():
    messages = train_messages(START, 1)
    messages[0].content = RecordDict({"fitins.parameters": record(START)})
    grid = AttackGrid(AnsweringGrid(honest), SignFlip(), 2)
    with pytest.raises(ParameterError, match=r"AttackStrategy\(strategy, SignFlip"):
        grid.send_and_receive(messages)


def test_a_protected_strategy_of_the_fit_api():
    models = []
    inner = fit_strategy(FedAdam, evaluate_fn=lambda r, p, c: models.append(p[2]))
    rule = rules.TrimmedMean(2)

    def around(strategy):
        return AttackStrategy(ByzantineRobust(inner, rule), PutAllFar(), byzantine=2)

    _, attacked = fit_run(untouched(), around, models=models)
    assert np.isfinite(models[-1]).all()
    assert (np.abs(models[-1]) < 10).all()
    assert attacked.aggregator.rule is rule  # the rule belongs to the protected strategy
    assert all(len(record.attacked) == 2 for record in attacked.rounds)
    assert all(isinstance(client, str) for client in attacked.byzantine)


def test_the_rule_belongs_inside():
    def around(strategy):
        return ByzantineRobust(AttackStrategy(strategy, SignFlip(), 2), rules.Phocas(2))

    with pytest.raises(
        Exception, match="should be a strategy without an attack, if a rule is around it"
    ):
        fit_run(untouched(), around)


def test_strategies_that_are_none():
    for wrong in (FedAvg(), INNER):
        with pytest.raises(ParameterError, match="AttackGrid"):
            AttackStrategy(wrong, SignFlip(), 2)
    with pytest.raises(ValueError, match="`strategy` should be a strategy"):
        AttackStrategy(3, SignFlip(), 2)
    with pytest.raises(ParameterError, match=r"AttackStrategy\(strategy, SignFlip\(\)"):
        AttackStrategy(fit_strategy(), SignFlip, 2)


@pytest.mark.slow
@pytest.mark.ray
def test_in_a_simulation_on_ray():
    seen, server_app = [], ServerApp()

    @server_app.main()
    def main(grid, context):
        grid = AttackGrid(grid, PutAllFar(), byzantine=(0, 3), order_by="partition-id")
        seen.append(grid)
        grid = RobustGrid(grid, rule=rules.Phocas(2))
        strategy = FedAvg(min_train_nodes=7, min_available_nodes=7, fraction_evaluate=0)
        seen.append(strategy.start(grid, ArrayRecord(MODEL), 2))

    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2}}
    run_simulation(server_app, client_app(untouched()), 7, backend_config=resources)
    grid, result = seen
    assert [len(record.attacked) for record in grid.rounds] == [2, 2]
    assert (np.abs(result.arrays.to_numpy_ndarrays()[2]) < 10).all()


@pytest.mark.parametrize("attack", [SignFlip(), Omniscient()], ids=repr)
def test_gradients_need_not_look_like_the_model(attack):
    def gradient(number, message):
        return RecordDict({"g": record({"g": np.full(4, 1.0 + number)})})

    grid = AttackGrid(AnsweringGrid(gradient), attack, byzantine=[101], payload="gradients")
    (sent,) = [
        m.content["g"]["g"].numpy() for m in rounds_of(grid) if m.metadata.src_node_id == 101
    ]
    assert (sent < 0).all()
    assert grid.rounds[0].attacked == (101,)
