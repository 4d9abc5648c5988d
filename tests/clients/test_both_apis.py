"""One app of NumPyClients serves servers of both Flower APIs."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.app.metadata import Metadata
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

from flwr_byzantine.clients.both_apis import serve_both_apis


class Trainer(NumPyClient):
    """Adds one to every tensor, and reports what it was told."""

    def fit(self, parameters, config):
        metrics = {"round": config["server-round"], "ok": True, "name": "a", "raw": b"b"}
        return [p + 1 for p in parameters], 7, metrics

    def evaluate(self, parameters, config):
        return float(sum(p.sum() for p in parameters)), 3, {"accuracy": 0.5, "loss": -1.0}


class Silent(NumPyClient):
    """A client that implements nothing."""


def ask(client, message_type, content):
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
        group_id="1", created_at=0.0, ttl=1e12, message_type=message_type,
        src_task_id=None, dst_task_id=None,
    )  # fmt: skip
    context = Context(1, 2, {"partition-id": 0}, RecordDict(), {})
    app = ClientApp(lambda _: client.to_client(), mods=[serve_both_apis])
    # `Message` needs a running task unless it is given its metadata.
    return app(Message(content, metadata=metadata), context)


def content(arrays):
    return RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 4})})


def model():
    return ArrayRecord({
        "conv.weight": Array(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "steps": Array(np.array(5, dtype=np.int64)),
    })  # fmt: skip


def test_train_answers_in_the_message_api():
    reply = ask(Trainer(), "train", content(model())).content
    assert list(reply) == ["arrays", "metrics"]
    assert list(reply["arrays"]) == ["conv.weight", "steps"]
    weight = reply["arrays"]["conv.weight"]
    assert (weight.dtype, weight.shape) == ("float32", (2, 3))
    np.testing.assert_array_equal(weight.numpy(), np.arange(6).reshape(2, 3) + 1)
    assert dict(reply["metrics"]) == {"round": 4, "ok": 1, "num-examples": 7}


def test_evaluate_answers_in_the_message_api():
    reply = ask(Trainer(), "evaluate", content(model())).content
    assert dict(reply["metrics"]) == {"accuracy": 0.5, "loss": 20.0, "num-examples": 3}
    assert not reply.array_records


@pytest.mark.parametrize(("message_type", "ins", "res"), [
    ("train", "fitins", "fitres"), ("evaluate", "evaluateins", "evaluateres"),
])  # fmt: skip
def test_legacy_messages_pass_unchanged(message_type, ins, res):
    legacy = RecordDict({
        f"{ins}.parameters": ArrayRecord([np.ones(2, dtype=np.float32)]),
        f"{ins}.config": ConfigRecord({"server-round": 1}),
    })  # fmt: skip
    reply = ask(Trainer(), message_type, legacy).content
    assert f"{res}.num_examples" in reply
    assert "metrics" not in reply


def test_a_client_without_fit_is_an_error_and_not_an_empty_answer():
    reply = ask(Silent(), "train", content(model()))
    assert reply.has_error()
    assert "fit" in reply.error.reason


def test_a_model_of_no_tensors_comes_back_as_one():
    reply = ask(Trainer(), "train", content(ArrayRecord())).content
    assert list(reply["arrays"]) == []


def test_tensors_beyond_the_names_are_still_sent():
    class Greedy(Trainer):
        def fit(self, parameters, config):
            return [*parameters, np.zeros(1)], 1, {}

    reply = ask(Greedy(), "train", content(model())).content
    assert list(reply["arrays"]) == ["conv.weight", "steps", "2"]


def test_a_tensor_is_read_to_its_end_only_where_the_header_needs_it(monkeypatch):
    """numpy's reader is slow, and the header says all that is needed. numpy reads only other formats."""

    class Sender(NumPyClient):
        def fit(self, parameters, config):
            return [np.ones((2, 3), order="F"), np.ones(2, ">i4"), np.array(1 + 2j)], 1, {}

    read = []
    numpy = Array.numpy
    monkeypatch.setattr(Array, "numpy", lambda self: read.append(self) or numpy(self))
    arrays = ask(Sender(), "train", content(model())).content["arrays"]
    described = [(array.dtype, array.shape) for array in arrays.values()]
    assert described == [("float64", (2, 3)), (">i4", (2,)), ("complex128", ())]
    assert len(read) == 1
    assert all(numpy(array).shape == array.shape for array in arrays.values())
