"""The attacks as a mod of a Message API app that has no NumPyClient."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.app.metadata import Metadata
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

from flwr_byzantine.attacks import Backdoor, BitFlip, LabelFlip, PutAllFar, RandomLabels, SignFlip
from flwr_byzantine.clients import (
    AttackSchedule,
    BackdoorClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
    attack_mod,
)


def train(msg, ctxt):
    """Add the node's number plus one to every floating-point tensor."""
    step = ctxt.node_config["partition-id"] + 1
    ctxt.state["seen"] = MetricRecord({"round": msg.content["config"]["server-round"]})
    arrays = msg.content.array_records["model"]
    sent = {name: Array(array.numpy() + np.float32(step)) for name, array in arrays.items()}
    metrics = MetricRecord({"num-examples": 10, "loss": 0.5})
    return Message(
        RecordDict(
            {"model": ArrayRecord(sent), "numbers": metrics, "more": ConfigRecord({"a": 1})}
        ),
        reply_to=msg,
    )


def train_alike(msg, ctxt):
    """Add 1, for every node and round."""
    arrays = msg.content.array_records["model"]
    sent = {name: Array(array.numpy() + np.float32(1)) for name, array in arrays.items()}
    numbers = MetricRecord({"num-examples": 10})
    return Message(RecordDict({"model": ArrayRecord(sent), "numbers": numbers}), reply_to=msg)


ROUND_2 = {"server-round": 2, "lr": [0.1]}


def ask(wrap, client_id, message_type="train", action=train, config=ROUND_2):
    app = ClientApp(mods=[attack_mod(wrap)])
    app.train()(action)
    app.evaluate()(action)
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
        group_id="1", created_at=0.0, ttl=1e12, message_type=message_type,
        src_task_id=None, dst_task_id=None,
    )  # fmt: skip
    model = {"w": Array(np.zeros((2, 2), dtype=np.float32)), "b": Array(np.ones(1, np.float32))}
    content = RecordDict({"model": ArrayRecord(model), "config": ConfigRecord(config)})
    node_config = client_id if isinstance(client_id, dict) else {"partition-id": client_id}
    context = Context(1, 2, node_config, RecordDict(), {})
    return app(Message(content, metadata=metadata), context), context


def values(reply):
    return {name: array.numpy().ravel().tolist() for name, array in reply.content["model"].items()}


def flip(make_honest, client_id):
    return MaliciousClient(make_honest(client_id), SignFlip(), client_id=client_id)


def test_a_local_attack_replaces_the_update_and_keeps_the_rest():
    reply, context = ask(flip, 2)
    assert values(reply) == {"w": [-3] * 4, "b": [-2]}
    assert reply.content["model"]["w"].shape == (2, 2)
    assert dict(reply.content["numbers"]) == {"num-examples": 10, "loss": 0.5}
    assert dict(reply.content["more"]) == {"a": 1}
    assert context.state["seen"]["round"] == 2


def test_off_the_reply_is_the_very_one_of_the_app():
    made = []

    def remember(msg, ctxt):
        made.append(train(msg, ctxt))
        return made[-1]

    def later(make_honest, client_id):
        return MaliciousClient(
            make_honest(client_id), SignFlip(), schedule=AttackSchedule(start_round=3)
        )

    reply, _ = ask(later, 2, action=remember)
    assert reply is made[-1]
    reply, _ = ask(lambda make_honest, client_id: make_honest(client_id), 2, action=remember)
    assert reply is made[-1]


def test_an_omniscient_node_runs_the_app_in_the_place_of_the_honest_ones():
    def wrap(make_honest, client_id):
        return OmniscientClient(
            make_honest(client_id), PutAllFar(distance=0), make_honest, [0, 1], [2, 3, 4],
            client_id=client_id, scope="mod",
        )  # fmt: skip

    reply, context = ask(wrap, 1)
    assert values(reply) == {"w": [4] * 4, "b": [5]}  # the mean of 3, 4 and 5
    assert list(context.state) == ["seen"]


def test_a_channel_and_a_lie():
    def wrap(make_honest, client_id):
        liar = LyingClient(make_honest(client_id), -7)
        return CorruptedChannelClient(liar, BitFlip(bits=(32,)), 1, client_id=0)

    reply, _ = ask(wrap, 0)
    assert values(reply) == {"w": [-1] * 4, "b": [-2]}
    assert reply.content["numbers"]["num-examples"] == -7


def test_other_messages_pass():
    reply, _ = ask(flip, 2, message_type="evaluate")
    assert values(reply) == {"w": [3] * 4, "b": [4]}


def test_an_error_of_the_app_stays_one():
    reply, _ = ask(flip, 2, action=lambda msg, _: Message(Error(9, "no data"), reply_to=msg))
    assert reply.error.reason == "no data"


@pytest.mark.parametrize("attack", [LabelFlip(), LabelFlip(source=1, target=2), RandomLabels()])
def test_labels_are_out_of_reach(attack):
    def wrap(make_honest, client_id):
        return LabelFlippingClient(lambda m: make_honest(client_id, m), attack)

    with pytest.raises(
        ValueError, match=r"`label_map` should be None for a mod.*where the app loads"
    ):
        ask(wrap, 2)


def test_samples_are_out_of_reach():
    def wrap(make_honest, client_id):
        return BackdoorClient(lambda poison: make_honest(client_id, poison=poison), Backdoor())

    with pytest.raises(ValueError, match=r"`poison` should be None for a mod.*where the app loads"):
        ask(wrap, 2)


def test_an_attack_that_needs_neither_number_nor_round_gets_along_without(caplog):
    reply, _ = ask(flip, {}, action=train_alike, config={"lr": 0.1})
    assert values(reply) == {"w": [-1] * 4, "b": [0]}
    assert "no `partition-id`" in caplog.text
    caplog.clear()
    ask(flip, {"partition_id": "3"}, action=train_alike, config={})
    assert "partition-id" not in caplog.text


@pytest.mark.parametrize("key", ["round", "current-round"])
def test_a_round_under_another_name_is_found(key):
    def later(make_honest, client_id):
        schedule = AttackSchedule(start_round=3)
        return MaliciousClient(make_honest(client_id), SignFlip(), schedule=schedule)

    replies = [ask(later, 0, action=train_alike, config={key: r})[0] for r in (2, 3)]
    assert [values(reply)["b"] for reply in replies] == [[2], [0]]


def test_an_attack_that_knows_other_nodes_needs_their_numbers():
    def wrap(make_honest, client_id):
        return OmniscientClient(
            make_honest(client_id), PutAllFar(), make_honest, [client_id], [4], client_id=client_id
        )

    with pytest.raises(
        ValueError, match="`node_config` should be a node config with a `partition-id`"
    ):
        ask(wrap, {}, action=train_alike)


@pytest.mark.parametrize("sent", [2, 1, 3, 0])
def test_a_wrapper_that_never_trains_answers_all_the_same(sent):
    class Lazy(NumPyClient):
        def fit(self, parameters, config):
            return [array + 5 for array in [*parameters, *parameters][:sent]], 7, {}

    asked = []
    reply, _ = ask(lambda make_honest, client_id: Lazy(), 0, action=lambda *a: asked.append(a))
    assert asked == []
    named = {"w": [5] * 4, "b": [6], "2": [5] * 4}
    assert values(reply) == dict(list(named.items())[:sent])
    assert dict(reply.content["metrics"]) == {"num-examples": 7}
    assert reply.metadata.reply_to_message_id == "m"
