"""The attacks as a mod of a Message-API app that has no NumPyClient."""

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
from flwr.clientapp import ClientApp

from flwr_byzantine.attacks import BitFlip, LabelFlip, PutAllFar, SignFlip
from flwr_byzantine.clients import (
    AttackSchedule,
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


def ask(wrap, client_id, message_type="train", action=train):
    app = ClientApp(mods=[attack_mod(wrap)])
    app.train()(action)
    app.evaluate()(action)
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
        group_id="1", created_at=0.0, ttl=1e12, message_type=message_type,
        src_task_id=None, dst_task_id=None,
    )  # fmt: skip
    model = {"w": Array(np.zeros((2, 2), dtype=np.float32)), "b": Array(np.ones(1, np.float32))}
    content = RecordDict(
        {"model": ArrayRecord(model), "config": ConfigRecord({"server-round": 2, "lr": [0.1]})}
    )
    context = Context(1, 2, {"partition-id": client_id}, RecordDict(), {})
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


def test_labels_are_out_of_reach():
    def wrap(make_honest, client_id):
        return LabelFlippingClient(lambda m: make_honest(client_id, m), LabelFlip())

    with pytest.raises(ValueError, match="cannot reach the labels"):
        ask(wrap, 2)
