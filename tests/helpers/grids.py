"""A grid whose nodes answer in this process by a function, and a round through `RobustGrid`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from flower import message
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from hostile import CATALOGUE, Lie, good, more_records, other_records, record_dict

from flwr_byzantine import rules
from flwr_byzantine.serverapp import RobustGrid

FIRST = 100  # the id of the first node


class AnsweringGrid(Grid):
    """Calls `answer(number, message)` for the reply of node 100 + number.

    This function returns a RecordDict, a whole Message, an Error, or None for a node that does not answer. If
    it raises, the node replies with an error.
    """

    def __init__(self, answer: Callable[[int, Message], Any], nodes: int = 10) -> None:
        self.answer, self.nodes = answer, nodes
        self.sent: list[Message] = []
        self.color = "blue"  # an attribute that Flower's grids do not have
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
        self._run = Run.create_empty(1)
        self._waiting: dict[str, Message] = {}

    def set_run(self, run):
        self._run = run

    @property
    def run(self):
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self):
        return range(FIRST, FIRST + self.nodes)

    def push_messages(self, messages):
        pushed = []
        for sent in messages:
            self.sent.append(sent)
            pushed.append(str(len(self.sent)))
            vars(sent.metadata)["_message_id"] = pushed[-1]  # as the SuperLink does
            reply = self._reply(sent)
            if reply is not None:
                self._waiting[pushed[-1]] = reply
        return pushed

    def pull_messages(self, message_ids):
        return [self._waiting.pop(key) for key in list(message_ids) if key in self._waiting]

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(messages))

    def _reply(self, sent):
        node = sent.metadata.dst_node_id
        try:
            found = self.answer(node - FIRST, sent)
        except Exception as error:
            found = Error(2, f"{type(error).__name__}: {error}")
        if found is None:
            return None
        if isinstance(found, Message):
            return found
        if isinstance(found, Error):
            return Message(found, reply_to=sent)
        return message(node, found, sent.metadata.message_type)


def record(model: dict[str, Any]) -> ArrayRecord:
    """Arrays by name, as a record of Flower."""
    return ArrayRecord({name: Array(array) for name, array in model.items()})


def arrays_of(content: Any) -> dict[str, Any]:
    """The arrays of a record, by name."""
    return {name: array.numpy() for name, array in content.items()}


def answer_with(model: dict[str, Any], metrics: dict[str, Any]) -> RecordDict:
    """A reply to training."""
    return RecordDict({"arrays": record(model), "metrics": MetricRecord(metrics)})


N, HOSTILE = 10, 3
RULE = rules.Phocas(2)
START = {
    "a": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "steps": np.array(7),
    "b": np.ones(2),
}


def trained(model, number):
    """The model that an honest node sends: one step of its own towards 3."""
    steps = 0.3 + 0.02 * number
    return {
        name: np.asarray(array + steps * (3 - array), array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in model.items()
    }


def honest(number, message):
    kind = message.metadata.message_type
    if kind == "query":
        return RecordDict({"config": ConfigRecord({"asked": number})})
    metrics = {"num-examples": 10 + number, "loss": 0.5 + number}
    if kind.startswith("evaluate"):
        return RecordDict({"metrics": MetricRecord(metrics)})
    (arrays,) = message.content.array_records.values()
    return answer_with(trained(arrays_of(arrays), number), metrics)


def except_for(hostile, number=HOSTILE):
    """Nodes of which all but one are honest."""
    return lambda i, message: hostile(i, message) if i == number else honest(i, message)


def lying(kind, lies=CATALOGUE):
    """A node that replies to training with a kind of reply from the catalogue."""

    def lie(i, message):
        if message.metadata.message_type != "train":
            return honest(i, message)
        (arrays,) = message.content.array_records.values()
        model = arrays_of(arrays)
        if kind in lies:
            return record_dict(lies[kind](model))
        found = {**other_records(Lie(good(model))), **more_records(Lie(good(model)))}
        return RecordDict(found[kind])

    return lie


def train_messages(model, nodes=N, kind="train", **config):
    content = RecordDict({"arrays": record(model), "config": ConfigRecord(config)})
    return [Message(content, FIRST + i, kind) for i in range(nodes)]


def evaluate_messages(model, nodes=N):
    return train_messages(model, nodes, "evaluate")


def one_round(answer=honest, rule=RULE, model=START, nodes=N, **options):
    grid = RobustGrid(AnsweringGrid(answer, nodes), rule=rule, **options)
    return grid, list(grid.send_and_receive(train_messages(model, nodes)))


def aggregate_of(rule, numbers, model=START):
    """The result of a rule on the honest replies of some nodes."""
    sent = [trained(model, i) for i in numbers]
    result = {}
    flat = rule(
        np.stack([np.concatenate([s[k].ravel() for k in ("a", "b")]).astype(float) for s in sent])
    )
    result["a"] = flat[:12].reshape(3, 4)
    result["b"] = flat[12:]
    return result


def assert_close(arrays, expected):
    for name, array in expected.items():
        np.testing.assert_allclose(arrays[name], array, rtol=2e-6)


def start(strategy, grid, rounds=3):
    """Run a strategy from the first model."""
    return strategy.start(grid, record(START), rounds)
