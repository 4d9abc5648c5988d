"""The two Flower APIs behind one interface, so that each test of a strategy is written once for both.

A reply is built from named tensors, arrays or raw bytes, and ``aggregate`` returns plain arrays. ``Message``
cannot be built outside a running task, so replies of the Message API are given their metadata.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.app.metadata import Metadata
from flwr.common import (
    Code,
    EvaluateRes,
    FitRes,
    Parameters,
    Status,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server import SimpleClientManager
from flwr.server import strategy as fit_strategies
from flwr.server.client_proxy import ClientProxy
from flwr.serverapp import strategy as train_strategies
from flwr.supercore.task_identity import TaskIdentity

import flwr_byzantine
import flwr_byzantine.serverapp
from flwr_byzantine.aggregation.npy import encode


@dataclass
class Sent:
    """What one client sends. All of it may be a lie."""

    node: int
    tensors: Any
    num_examples: Any = 10
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, Any]:
        """The tensors by name. In a list, the positions are the names, as in the ``aggregate_fit`` API."""
        if isinstance(self.tensors, dict):
            return self.tensors
        return {str(i): tensor for i, tensor in enumerate(self.tensors)}


def as_bytes(tensor: Any) -> Any:
    return encode(tensor) if isinstance(tensor, np.ndarray) else tensor


class FitApi:
    """Flower's ``aggregate_fit`` API."""

    name = "fit"
    ours, theirs = flwr_byzantine, fit_strategies
    f_name, m_name, clients = "num_malicious_clients", "num_clients_to_keep", "clients"

    def reply(self, sent: Sent) -> Any:
        parameters = Parameters([as_bytes(t) for t in sent.named.values()], "numpy.ndarray")
        status = Status(Code.OK, "")
        result = FitRes(status, parameters, sent.num_examples, sent.metrics)
        return Proxy(str(sent.node)), result

    def evaluation(self, node: int, loss: float, num_examples: Any = 10, **metrics: Any) -> Any:
        return Proxy(str(node)), EvaluateRes(Status(Code.OK, ""), loss, num_examples, metrics)

    def hand_out(
        self, strategy: Any, model: Any, server_round: int = 1, nodes: int | None = None
    ) -> Any:
        manager = SimpleClientManager()
        for node in range(nodes or at_least(strategy, "min_available_clients")):
            manager.register(Proxy(str(node)))
        return strategy.configure_fit(
            server_round=server_round,
            parameters=ndarrays_to_parameters(list(Sent(0, model).named.values())),
            client_manager=manager,
        )

    def aggregate(self, strategy: Any, replies: list[Any], server_round: int = 1) -> Any:
        failures = [reply for reply in replies if isinstance(reply, BaseException)]
        results = [reply for reply in replies if not isinstance(reply, BaseException)]
        parameters, metrics = strategy.aggregate_fit(
            server_round=server_round, results=results, failures=failures
        )
        return None if parameters is None else parameters_to_ndarrays(parameters), metrics

    def evaluate(self, strategy: Any, replies: list[Any]) -> dict[str, Any]:
        loss, metrics = strategy.aggregate_evaluate(server_round=1, results=replies, failures=[])
        return metrics if loss is None else {"loss": loss, **metrics}

    def error(self, node: int) -> Any:
        return RuntimeError("the client raised")


class TrainApi:
    """Flower's Message API."""

    name = "train"
    ours, theirs = flwr_byzantine.serverapp, train_strategies
    f_name, m_name, clients = "num_malicious_nodes", "num_nodes_to_select", "nodes"

    def reply(self, sent: Sent) -> Any:
        arrays = ArrayRecord({name: self.array(t) for name, t in sent.named.items()})
        metrics = MetricRecord({**sent.metrics, "num-examples": sent.num_examples})
        return message(sent.node, RecordDict({"arrays": arrays, "metrics": metrics}))

    @staticmethod
    def array(tensor: Any) -> Array:
        if isinstance(tensor, np.ndarray):
            return Array(str(tensor.dtype), tensor.shape, "numpy.ndarray", encode(tensor))
        return Array("float32", (1,), "numpy.ndarray", tensor)

    def evaluation(self, node: int, loss: float, num_examples: Any = 10, **metrics: Any) -> Any:
        record = MetricRecord({"loss": loss, **metrics, "num-examples": num_examples})
        return message(node, RecordDict({"metrics": record}), "evaluate")

    def hand_out(
        self, strategy: Any, model: Any, server_round: int = 1, nodes: int | None = None
    ) -> Any:
        arrays = ArrayRecord({name: Array(t) for name, t in Sent(0, model).named.items()})
        nodes = nodes or at_least(strategy, "min_available_nodes")
        with running_task():
            messages = strategy.configure_train(
                server_round=server_round, arrays=arrays, config=ConfigRecord(), grid=Nodes(nodes)
            )
            return list(messages)

    def aggregate(self, strategy: Any, replies: list[Any], server_round: int = 1) -> Any:
        arrays, metrics = strategy.aggregate_train(server_round=server_round, replies=replies)
        tensors = None if arrays is None else [array.numpy() for array in arrays.values()]
        return tensors, dict(metrics or {})

    def evaluate(self, strategy: Any, replies: list[Any]) -> dict[str, Any]:
        return dict(strategy.aggregate_evaluate(server_round=1, replies=replies) or {})

    def error(self, node: int) -> Any:
        return message(node, None, error=Error(code=1, reason="the client raised"))


class Proxy(ClientProxy):
    """A client that is never called."""

    def _nothing(self, *arguments: Any) -> Any:
        raise AssertionError("no client is called in these tests")

    get_properties = get_parameters = fit = evaluate = reconnect = _nothing


class Nodes:
    """A grid that only knows how many nodes there are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def get_node_ids(self) -> list[int]:
        return list(range(self.number))


def message(
    node: int, content: RecordDict | None, kind: str = "train", error: Error | None = None
) -> Message:
    """A message from a node to the server."""
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=node, dst_node_id=1, reply_to_message_id="i", group_id="1",
        created_at=0.0, ttl=1e12, message_type=kind, src_task_id=None, dst_task_id=None,
    )  # fmt: skip
    if error is not None:
        return Message(error=error, metadata=metadata)
    return Message(content, metadata=metadata)


APIS = [FitApi(), TrainApi()]
every_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)


@contextmanager
def running_task() -> Iterator[None]:
    """A running task, which Flower's strategies need to build messages."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_task_id", "_run_id", "_node_id"):
            patch.setattr(TaskIdentity, name, 1)
        yield


def at_least(strategy: Any, name: str) -> int:
    """How many clients have to be connected before a strategy, or the one that it wraps, begins."""
    inner = getattr(strategy, "strategy", None)
    return max(2, getattr(strategy, name, 2), 2 if inner is None else at_least(inner, name))


def strategy_of(api: Any, case: Any, f: int, **kwargs: Any) -> Any:
    """The strategy of a case of the rules' table, with the keywords of an API."""
    arguments = {api.f_name: f} if case.takes_f else {}
    if case.m is not None:
        arguments[api.m_name] = case.m
    if case.before is not None:
        arguments["pre_aggregation"] = case.before(f)
    return getattr(api.ours, case.name)(**arguments, **dict(case.options), **kwargs)


def replies_of(api: Any, updates: Any, split: Any = lambda row: [row]) -> list[Any]:
    """One reply for each row, from nodes 100, 101, ..."""
    return [api.reply(Sent(100 + i, split(row))) for i, row in enumerate(updates)]


def counted(metrics: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """The values of a round's own metrics under these names."""
    return tuple(metrics[f"byzantine/{name}"] for name in names)


def flat(tensors: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(tensor) for tensor in tensors])
