"""Nodes in one process share nothing, although no message goes over a network."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task, own_records


def spoil(content):
    """Change everything in a message that a node can change."""
    for array in content["arrays"].values():
        array.data, array.dtype, array.shape = b"spoilt", "spoilt", (9,)
    content["arrays"]["more"] = Array(np.zeros(1))
    content["config"]["list"].append(9)
    content["config"]["round"] = 9
    content["metrics"]["losses"].append(9.0)
    del content["metrics"]["loss"]
    content["another"] = ConfigRecord()


def records():
    return RecordDict(
        {
            "config": ConfigRecord({"round": 1, "list": [1, 2], "text": "a", "raw": b"b"}),
            "arrays": ArrayRecord([np.arange(3.0), np.ones((2, 2), np.float32)]),
            "metrics": MetricRecord({"loss": 0.5, "losses": [1.0, 2.0]}),
        }
    )


@pytest.fixture
def running():
    as_running_task()


def test_records_are_the_same_and_another_ones():
    first = records()
    own = own_records(first)
    assert own == records()
    assert list(own) == list(first)
    spoil(own)
    assert first == records()


def test_what_a_node_changes_in_a_message_reaches_no_other_node(running):
    seen = []
    app = ClientApp()

    @app.train()
    def train(message, context):
        seen.append(own_records(message.content))
        spoil(message.content)
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(app, 3)
    sent = records()
    replies = grid.send_and_receive(
        [grid.create_message(sent, "train", node, "1") for node in grid.get_node_ids()]
    )
    assert all(reply.has_content() for reply in replies)
    assert seen == [records()] * 3
    assert sent == records()


def test_what_a_node_keeps_of_its_reply_is_its_own(running):
    app = ClientApp()
    kept = {}

    @app.train()
    def train(message, context):
        kept[message.metadata.dst_node_id] = records()
        return Message(kept[message.metadata.dst_node_id], reply_to=message)

    grid = InProcessGrid(app, 2)
    messages = [grid.create_message(records(), "train", node, "1") for node in (1, 2)]
    replies = list(grid.send_and_receive(messages))
    for mine in kept.values():
        spoil(mine)
    assert [reply.content for reply in replies] == [records()] * 2
