"""AttackGrid and AttackStrategy send exactly what the wrappers send, bit by bit."""

from functools import partial

import numpy as np
import pytest
from attacked import BYZANTINE, START, Trainer, fit_run, message_run, untouched, wrapped
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine import attacks
from flwr_byzantine.attacks import (
    ChannelAttack,
    ColludingAttack,
    Gaussian,
    LittleIsEnough,
    LocalAttack,
    ModelAttack,
    OnOff,
    RandomSignFlip,
)
from flwr_byzantine.clients import AttackSchedule, OmniscientClient, attack_mod
from flwr_byzantine.lab import AttackGrid, AttackStrategy

KINDS = (LocalAttack, ColludingAttack, ModelAttack, ChannelAttack)
SPECIAL = {
    "LittleIsEnough": LittleIsEnough(z=1.5),
    "Gambler": attacks.Gambler(num_servers=1, probability=0.3),
}
NEEDS_MORE = {"Optimized", "AdaptiveAttack"}  # a rule is needed to make these


def names():
    for name in attacks.__all__:
        kind = getattr(attacks, name)
        if issubclass(kind, KINDS) and kind not in KINDS and name not in NEEDS_MORE:
            yield name


def around(api, attack, **options):
    """A grid or strategy with the attack around it."""
    kind = {"message": AttackGrid, "fit": AttackStrategy}[api]
    if not isinstance(attack, ChannelAttack):
        options["byzantine"] = BYZANTINE
    return lambda inner: kind(inner, attack, order_by="partition-id", **options)


RUNS = {"message": message_run, "fit": fit_run}
apis = pytest.mark.parametrize("api", RUNS)


def assert_same(api, attack, knows="honest", wrapper=None, start=START, **options):
    run, payload = partial(RUNS[api], start=start), options.get("payload", "parameters")
    seen, _ = run(wrapped(wrapper or attack, knows, **options))
    model, attacked = run(untouched(payload), around(api, attack, knows=knows, **options))
    assert model == seen
    assert model != run(untouched(payload))[0]
    return attacked


@apis
@pytest.mark.parametrize("name", sorted(names()))
def test_it_sends_what_the_wrappers_send(api, name):
    attack = SPECIAL.get(name) or getattr(attacks, name)()
    wrapper = attack.told(7, 3) if name == "Boost" else attack
    attacked = assert_same(api, attack, wrapper=wrapper, seed=2)
    assert [record.server_round for record in attacked.rounds] == [1, 2, 3]
    if not isinstance(attack, ChannelAttack):
        assert len(attacked.byzantine) == len(BYZANTINE)


@pytest.mark.parametrize("attack", [attacks.PoisonedFL(), attacks.Mimic(warmup=3)], ids=repr)
def test_attacks_that_remember_go_on_when_counters_become_floating_point(attack, caplog):
    """Flower's FedAvg of the Message API turns counters into float64, which adds a value to the model."""
    _, attacked = message_run(untouched(), around("message", attack))
    assert [len(record.attacked) for record in attacked.rounds] == [3, 3, 3]
    said = [text for text in caplog.messages if "begins anew" in text]
    assert said == [
        f"{type(attack).__name__} begins anew, because it got 8 values before and gets 9 now"
    ]


@apis
@pytest.mark.parametrize("name", ["Gaussian", "SignFlip", "Omniscient"])
def test_also_of_gradients(api, name):
    assert_same(api, getattr(attacks, name)(), payload="gradients")


@apis
@pytest.mark.parametrize("attack", [Gaussian(), attacks.PutAllFar(), RandomSignFlip()], ids=repr)
@pytest.mark.parametrize(
    "schedule", [AttackSchedule(start_round=2), AttackSchedule(fraction=0.5)], ids=repr
)
def test_also_by_a_schedule(api, attack, schedule):
    assert_same(api, attack, schedule=schedule, seed=5)


@apis
def test_also_on_and_off(api):
    attacked = assert_same(api, OnOff(Gaussian(), period=1))
    assert [len(record.attacked) for record in attacked.rounds] == [0, 3, 0]


@apis
def test_attackers_that_know_each_other_count_all_clients(api):
    told = LittleIsEnough(num_clients=7)
    seen, _ = RUNS[api](wrapped(told, "attackers"))
    attack = around(api, LittleIsEnough(), knows="attackers")
    assert RUNS[api](untouched(), attack)[0] == seen


@apis
def test_functions_of_users(api):
    def push(own, rng):
        return own + rng.normal(5, 1, own.shape).astype(own.dtype)

    assert_same(api, push, seed=1)
    model, attacked = RUNS[api](untouched(), around(api, lambda h, f, rng: -np.stack([h[0]] * f)))
    assert model != RUNS[api](untouched())[0]
    assert len(attacked.rounds[0].attacked) == 3


def test_it_sends_what_the_mod_sends():
    def honest(message, context):
        number, server_round = context.node_config["partition-id"], message.content["config"]
        (arrays,) = message.content.array_records.values()
        trained, count, metrics = Trainer(number).fit(arrays.to_numpy_ndarrays(), server_round)
        named = ArrayRecord(dict(zip(arrays, map(Array, trained), strict=True)))
        numbers = MetricRecord({**metrics, "num-examples": count})
        return Message(RecordDict({"arrays": named, "numbers": numbers}), reply_to=message)

    def run(wrap, around):
        app = ClientApp(mods=[attack_mod(wrap)] if wrap else [])
        app.train()(honest)
        return message_run(None, around, app=app)[0]

    def omniscient(make_honest, number):
        client, others = make_honest(number), set(range(7)) - set(BYZANTINE)
        if number in others:
            return client
        return OmniscientClient(
            client, attacks.PutAllFar(), make_honest, BYZANTINE, others,
            client_id=number, scope="lab",
        )  # fmt: skip

    attacked = run(None, around("message", attacks.PutAllFar()))
    assert attacked == run(omniscient, lambda grid: grid)
    assert attacked != run(None, lambda grid: grid)
