"""Flower's own FedAvg, for comparison, made repeatable.

Replies arrive in any order, and floating-point sums depend on the order. So these two classes first put
them in the order of the clients' numbers. They change nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.common import FitRes, Parameters, Scalar
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.serverapp.strategy import FedAvg

Fit = tuple[ClientProxy, FitRes]


def _reply_key(message: Message) -> float:
    if message.has_error():
        return float("inf")
    metrics = next(iter(message.content.metric_records.values()))
    return float(metrics["partition-id"])  # type: ignore[arg-type]  # one number, not a list


class OrderedFedAvg(FedAvg):
    """FedAvg of the Message API."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the replies in the order of their partition-id."""
        return super().aggregate_train(server_round, sorted(replies, key=_reply_key))


class OrderedLegacyFedAvg(LegacyFedAvg):
    """FedAvg of the ``aggregate_fit`` API."""

    def aggregate_fit(
        self, server_round: int, results: list[Fit], failures: list[Fit | BaseException]
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        """Average the results in the order of their partition-id."""
        ordered = sorted(results, key=lambda result: result[1].metrics["partition-id"])
        return super().aggregate_fit(server_round, ordered, failures)
