"""Attacks that see models or remember: what each client sends, and where its memory is between rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from flwr_byzantine.attacks import (
    ColludingAttack,
    LocalAttack,
    ModelAttack,
    Omniscient,
    OnOff,
    PoisonedFL,
    Remembering,
    SignFlip,
)
from flwr_byzantine.clients import (
    AttackSchedule,
    ColludingClient,
    MaliciousClient,
    OmniscientClient,
    attack_mod,
)
from flwr_byzantine.clients.arrays import flatten
from flwr_byzantine.clients.memory import digest

MODEL = [np.array([1.0, 2.0], np.float32), np.array(7), np.array([[3.0]], np.float32)]
ATTACKERS, HONEST = (0, 1, 2), (3, 4)


@dataclass(frozen=True)
class Drift(Remembering, ModelAttack):
    """The step from the last model, in directions that are drawn once. It remembers values of many types."""

    def __call__(self, model, rng):
        memory = self.memory
        if not memory:
            memory |= {
                "signs": rng.choice([-1.0, 1.0], model.size), "calls": 0, "factor": np.float32(0.1),
                "last": model, "third": 1 / 3, "bits": np.arange(3, dtype=np.uint8), "early": True,
            }  # fmt: skip
        assert type(memory["factor"]) is np.float32
        assert memory["third"] == 1 / 3
        assert memory["early"] is True
        assert memory["signs"].dtype == np.float64
        assert memory["bits"].dtype == np.uint8
        memory["calls"] += 1
        memory["signs"] *= 2  # changes the array in place, which no other attacker may see
        step = model - memory["last"]
        memory["last"] = model
        return (memory["signs"] + memory["calls"] * memory["factor"] + step).astype(model.dtype)


@dataclass(frozen=True)
class Follow(Remembering, ColludingAttack):
    """The sum of all honest means so far, plus noise for each attacker."""

    def __call__(self, honest, num_attackers, rng):
        past = self.memory.setdefault("sum", np.zeros(honest.shape[1], honest.dtype))
        past += honest.mean(axis=0)
        return past + rng.normal(size=(num_attackers, honest.shape[1])).astype(honest.dtype)


@dataclass(frozen=True)
class Echo(Remembering, LocalAttack):
    """The attacker's own last update."""

    def __call__(self, own, rng):
        last = self.memory.get("own", own)
        self.memory["own"] = own
        return last


class Trainer(NumPyClient):
    """A client whose update is its number, times the round."""

    def __init__(self, number=0):
        self.number = number

    def fit(self, parameters, config):
        step = np.float32((self.number + 1) * config["server-round"])
        return [p + step if p.dtype == np.float32 else p + 1 for p in parameters], 5, {"a": 1.0}


def contexts(clients=ATTACKERS):
    return {i: Context(1, i, {"partition-id": i}, RecordDict(), {}) for i in clients}


def model(server_round):
    return [MODEL[0] * server_round, MODEL[1], MODEL[2] - server_round]


def round_of(make, server_round):
    """What each attacker, built by `make(number)`, sends in a round."""
    sent = {}
    for number in ATTACKERS:
        arrays, examples, metrics = make(number).fit(
            model(server_round), {"server-round": server_round}
        )
        assert (examples, metrics) == (5, {"a": 1.0})
        sent[number] = flatten(arrays)
    return sent


def test_an_attack_of_the_model_is_given_the_model_and_gives_the_update():
    class Back(ModelAttack):
        def __call__(self, model, rng):
            assert model.tolist() == [1, 2, 3]
            return model * 10

    sent, _, _ = MaliciousClient(Trainer(), Back()).fit(MODEL, {"server-round": 1})
    assert [a.tolist() for a in sent] == [[11, 22], 8, [[33]]]
    gradients = MaliciousClient(Trainer(), Back(), payload="gradients")
    sent, _, _ = gradients.fit(MODEL, {"server-round": 1})
    assert [a.tolist() for a in sent] == [[-10, -20], 8, [[-30]]]


def test_attackers_that_know_the_model_draw_the_same_in_the_same_rounds():
    class Noise(ModelAttack):
        def __call__(self, model, rng):
            return rng.normal(size=model.size).astype(model.dtype)

    half = AttackSchedule(fraction=0.5)
    seen = []
    for server_round in range(1, 13):
        rows = round_of(
            lambda i: MaliciousClient(Trainer(9), Noise(), client_id=i, schedule=half), server_round
        )
        assert len({row.tobytes() for row in rows.values()}) == 1
        honest, _, _ = Trainer(9).fit(model(server_round), {"server-round": server_round})
        seen.append(rows[0].tobytes() == flatten(honest).tobytes())
    assert True in seen
    assert False in seen
    other = MaliciousClient(Trainer(9), Noise(), seed=1).fit(MODEL, {"server-round": 1})[0]
    assert not np.array_equal(flatten(other), round_of(
        lambda i: MaliciousClient(Trainer(9), Noise(), client_id=i), 1)[0])  # fmt: skip


KINDS = {
    "model": lambda i, **kw: MaliciousClient(Trainer(i), Drift(), client_id=i, **kw),
    "own": lambda i, **kw: MaliciousClient(Trainer(i), Echo(), client_id=i, **kw),
    "colluding": lambda i, **kw: ColludingClient(
        Trainer(i), Follow(), Trainer, ATTACKERS, client_id=i, **kw
    ),
    "omniscient": lambda i, **kw: OmniscientClient(
        Trainer(i), Follow(), Trainer, ATTACKERS, HONEST, client_id=i, **kw
    ),
}


def anew(kind, transport=lambda state: state):
    """Clients that are built anew in each round. Their contexts are sent over a transport in between."""
    nodes = contexts()
    for server_round in range(1, 5):
        yield round_of(lambda i: KINDS[kind](i, context=nodes[i]), server_round)
        for node in nodes.values():
            node.state = transport(node.state)


def as_bytes(state):
    return recorddict_from_proto(recorddict_to_proto(state))


@pytest.mark.parametrize("kind", KINDS)
def test_clients_built_anew_remember_what_those_that_stay_do(kind):
    staying = {i: KINDS[kind](i) for i in ATTACKERS}
    rounds = [round_of(staying.__getitem__, server_round) for server_round in range(1, 5)]
    for found in (anew(kind), anew(kind, as_bytes)):
        for expected, sent in zip(rounds, found, strict=True):
            for i in ATTACKERS:
                assert sent[i].tobytes() == expected[i].tobytes()
    # Without a context, a client that is built anew remembers nothing.
    forgotten = [round_of(KINDS[kind], server_round) for server_round in range(1, 5)]
    assert forgotten[0][0].tobytes() == rounds[0][0].tobytes()
    assert forgotten[3][0].tobytes() != rounds[3][0].tobytes()


def test_what_a_memory_is_worth_by_hand():
    nodes = contexts()
    make = lambda i: MaliciousClient(Trainer(i), Echo(), client_id=i, context=nodes[i])  # noqa: E731
    sent = [
        round_of(make, server_round)[1] - flatten(model(server_round)) for server_round in (1, 2, 3)
    ]
    np.testing.assert_allclose([row[0] for row in sent], [2, 2, 4])  # twice the numbers 1, 1 and 2


@pytest.mark.parametrize("kind", ["colluding", "omniscient"])
def test_attackers_share_a_recomputation_and_remember_alike(kind, monkeypatch):
    calls = []
    whole = Follow.__call__
    monkeypatch.setattr(Follow, "__call__", lambda *a: calls.append(a) or whole(*a))
    nodes = contexts()
    for server_round in (1, 2, 3):
        round_of(lambda i: KINDS[kind](i, context=nodes[i], scope=kind), server_round)
        memories = [KINDS[kind](i, context=nodes[i]).memory.read() for i in ATTACKERS]
        assert len({digest(each) for each in memories}) == 1
        known = [
            np.float32((i + 1) * server_round) for i in (ATTACKERS, HONEST)[kind != "colluding"]
        ]
        assert len(calls) == server_round
        np.testing.assert_allclose(calls[-1][1][:, 0], known)
    total = 6 * np.mean([1, 2, 3] if kind == "colluding" else [4, 5])
    np.testing.assert_allclose(memories[0]["sum"], np.full(3, total))


def test_memories_that_differ_are_told_apart():
    def sent(memory):
        node = contexts()[0]
        client = KINDS["omniscient"](0, context=node, scope="told apart")
        if memory is not None:
            client.memory.keep({"sum": np.full(3, memory, np.float32)})
        return flatten(client.fit(MODEL, {"server-round": 1})[0])

    np.testing.assert_allclose(sent(100) - sent(None), np.full(3, 100), atol=1e-4)
    np.testing.assert_allclose(sent(200) - sent(100), np.full(3, 100), atol=1e-4)
    one = {"a": np.zeros(2, np.float32)}
    others = [
        {}, {"b": one["a"]}, {"a": np.zeros(2)}, {"a": np.zeros((2, 1), np.float32)},
        {"a": 0}, {"a": 0.0}, {"a": False}, {"a": np.float32(0)}, {"a": -one["a"]},
    ]  # fmt: skip
    assert len({digest(each) for each in [one, *others]}) == len(others) + 1


def test_the_attack_that_is_given_never_changes():
    attack = Drift()
    client = MaliciousClient(Trainer(), attack)
    client.fit(MODEL, {"server-round": 1})
    assert attack.memory == {}
    assert client.memory.read()["calls"] == 1


def test_an_attack_that_forgets_leaves_the_context_alone():
    node = contexts()[0]
    MaliciousClient(Trainer(), SignFlip(), context=node).fit(MODEL, {"server-round": 1})
    assert not node.state


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_that_starts_late_is_warned_of(kind, caplog):
    for make in (KINDS[kind], lambda i: KINDS[kind](i, schedule=AttackSchedule(start_round=2))):
        caplog.clear()
        make(0).fit(model(1), {"server-round": 1})
        make(0).fit(model(2), {"server-round": 2})
        late = make == KINDS[kind]
        assert ("starts in round 2. If the client is built anew" in caplog.text) == late
    caplog.clear()
    staying, nodes = KINDS[kind](0), contexts()
    for server_round in (1, 2, 3):
        staying.fit(model(server_round), {"server-round": server_round})
        KINDS[kind](0, context=nodes[0]).fit(model(server_round), {"server-round": server_round})
    assert "starts in round" not in caplog.text


def test_rounds_off_are_not_remembered():
    nodes = contexts()
    attack = OnOff(Drift(), period=2)
    for server_round in range(1, 9):
        for i in ATTACKERS:
            client = MaliciousClient(Trainer(i), attack, client_id=i, context=nodes[i])
            client.fit(model(server_round), {"server-round": server_round})
    assert client.memory.read()["calls"] == 4


def test_what_does_not_last_is_refused():
    @dataclass(frozen=True)
    class Odd(Remembering, LocalAttack):
        def __call__(self, own, rng):
            self.memory["list"] = [own]
            return own

    MaliciousClient(Trainer(), Odd()).fit(MODEL, {"server-round": 1})  # the attack keeps it
    client = MaliciousClient(Trainer(), Odd(), context=contexts()[0])
    with pytest.raises(ValueError, match="should be arrays and numbers"):
        client.fit(MODEL, {"server-round": 1})
    with pytest.raises(ValueError, match=r"Parameter `context` should be the Context of the node"):
        MaliciousClient(Trainer(), Odd(), context=RecordDict())


def test_wrappers_name_each_other():
    wrong = [
        (lambda: MaliciousClient(Trainer(), Omniscient()), "OmniscientClient or ColludingClient"),
        (lambda: MaliciousClient(Trainer(), OnOff(Follow(), 3)), "OmniscientClient or Colluding"),
        (lambda: ColludingClient(Trainer(), SignFlip(), Trainer, [0], client_id=0), "MaliciousClient"),
        (lambda: ColludingClient(Trainer(), Drift(), Trainer, [0], client_id=0), "MaliciousClient"),
        (lambda: MaliciousClient(Trainer(), SignFlip), "Pass an instance"),
    ]  # fmt: skip
    for make, message in wrong:
        with pytest.raises(ValueError, match=f"Parameter `attack` should be .*{message}"):
            make()


def test_a_mod_hands_on_the_context_of_its_node():
    def wrap(make_honest, client_id, context):
        return MaliciousClient(make_honest(client_id), Echo(), client_id=client_id, context=context)

    def add(message, context):
        step = np.float32(message.content["config"]["server-round"])
        sent = ArrayRecord([array.numpy() + step for array in message.content["arrays"].values()])
        numbers = MetricRecord({"num-examples": 1})
        return Message(RecordDict({"arrays": sent, "metrics": numbers}), reply_to=message)

    node, sent = contexts()[0], []
    for server_round in (1, 2, 3):
        app = ClientApp(mods=[attack_mod(wrap)])
        app.train()(add)
        metadata = Metadata(
            run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
            group_id="1", created_at=0.0, ttl=1e12, message_type="train",
            src_task_id=None, dst_task_id=None,
        )  # fmt: skip
        record = {"arrays": ArrayRecord([np.zeros(1, np.float32)])}
        told = {"config": ConfigRecord({"server-round": server_round})}
        reply = app(Message(RecordDict(record | told), metadata=metadata), node)
        sent.append(reply.content["arrays"].to_numpy_ndarrays()[0].item())
    assert sent == [1, 1, 2]


@pytest.mark.parametrize("attack", [Echo(), PoisonedFL()], ids=repr)
def test_they_begin_anew_where_the_model_has_another_size(attack, caplog):
    """As if counters came back from the server as floating-point numbers."""
    context = contexts()[0]
    for server_round, counters in ((1, np.int64), (2, np.float32), (3, np.float32)):
        received = [np.ones(3, np.float32), np.array([4], counters)]
        client = MaliciousClient(Trainer(), attack, context=context)
        client.fit(received, {"server-round": server_round})
    name = type(attack).__name__
    assert caplog.messages == [f"{name} begins anew, because it got 3 values before and gets 4 now"]


def test_the_model_is_known_where_the_client_returns_floating_point_numbers(caplog):
    """Flower's FedAvg sends counters as floating-point numbers to a client that returns whole numbers."""

    class Counts(NumPyClient):
        def fit(self, parameters, config):
            return [parameters[0] + 1, parameters[1].astype(np.int64) + 1], 5, {}

    client = MaliciousClient(Counts(), PoisonedFL())
    for server_round, counters in ((1, np.int64), (2, np.float64), (3, np.float64)):
        moved = np.random.default_rng(server_round).normal(size=3).astype(np.float32)
        received = [moved, np.array([4], counters)]
        sent, _, _ = client.fit(received, {"server-round": server_round})
        assert sent[1].tolist() == [5]
    assert not caplog.messages
    assert np.abs(sent[0] - received[0]).min() > 0
