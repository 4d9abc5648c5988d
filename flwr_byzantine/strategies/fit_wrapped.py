"""``ByzantineRobust`` of the ``aggregate_fit`` API."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flwr.common import Code, EvaluateIns, EvaluateRes, FitIns, FitRes, Parameters, Status
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import Strategy

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.reports import (
    guarded,
    harmless,
    median_loss,
    median_metrics,
    text_metrics,
)
from flwr_byzantine.strategies.fit import (
    EvaluateFailures,
    EvaluateResults,
    FitAdapter,
    FitFailures,
    FitResults,
    Metrics,
    losses,
    read_parameters,
    write_parameters,
)
from flwr_byzantine.strategies.hosts import no_strategy
from flwr_byzantine.strategies.wrapped import Wrapping

OK = Status(Code.OK, "")


class Delegating(Strategy):
    """Asks another strategy for everything except aggregation."""

    def __init__(self, strategy: Strategy) -> None:
        if not isinstance(strategy, Strategy):
            advice = "For the Message API, import from `flwr_byzantine.serverapp`."
            raise no_strategy(strategy, "flwr.server.strategy", advice)
        self.strategy = strategy

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """Ask the wrapped strategy."""
        return self.strategy.initialize_parameters(client_manager)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_fit(server_round, parameters, client_manager)

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, parameters, client_manager)

    def evaluate(self, server_round: int, parameters: Parameters) -> tuple[float, Metrics] | None:
        """Ask the wrapped strategy."""
        return self.strategy.evaluate(server_round, parameters)


class ByzantineRobust(Wrapping, FitAdapter, Delegating):
    """Puts a robust rule in front of any Flower strategy.

    In place of each accepted reply, the wrapped strategy sees a clean result with the rule's aggregate
    and with medians of what clients report. So the server optimiser of FedAdam or FedAvgM runs on a
    robust aggregate. The wrapped strategy also sees the failures.

    Parameters
    ----------
    strategy : flwr.server.strategy.Strategy
        The strategy to protect.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        ``payload``, ``learning_rate``, ``order_by``, ``on_too_few``, ``on_dropped``, ``bound``,
        ``count_failures``, ``buffers``, ``audit_log``, ``pre_aggregation``, ``trusted_weights``,
        ``suspicion``, ``on_suspect``, ``quarantine``, ``node_names``, ``checkpoint`` and ``cap_examples``,
        as for :class:`RobustFedAvg`. Checkpoints also hold the wrapped strategy's state. See
        :class:`flwr_byzantine.resume.snapshot.Snapshot`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def _aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        if failures and not getattr(self.strategy, "accept_failures", True):
            self._start_momentum()
            self._refuse(server_round, results, failures)
            return None, {}
        outcome = self._aggregate(server_round, results, failures)
        if outcome.model is None:
            self._start_momentum()
            return None, dict(outcome.metrics) if results or outcome.failed else {}
        tensors = write_parameters(outcome.model).tensors
        clean = [
            (proxy, FitRes(OK, Parameters(list(tensors), "numpy.ndarray"), count, reported))
            for proxy, count, reported in self._senders(outcome.accepted)
        ]
        with self._guarding() as strategy:
            parameters, metrics = strategy.aggregate_fit(server_round, clean, list(failures))
        if parameters is None:
            self._start_momentum()
            self._note_refusal(server_round)
        else:
            parameters = write_parameters(self._finished(read_parameters(parameters), outcome))
        return parameters, {**metrics, **outcome.metrics}

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """Give the wrapped strategy clean reports with medians of the losses and metrics."""
        reports = self._reports(server_round, results, failures)
        if not reports:
            return None, {}
        loss = median_loss(losses(reports))
        clean = [
            (proxy, EvaluateRes(OK, loss, count, reported))
            for proxy, count, reported in self._senders(reports)
        ]
        loss_and_metrics: tuple[float | None, Metrics]
        with self._guarding() as strategy:
            loss_and_metrics = strategy.aggregate_evaluate(server_round, clean, list(failures))
        return loss_and_metrics

    def _senders(self, replies: Sequence[Reply]) -> list[tuple[ClientProxy, Any, Any]]:
        """The sender of each reply, with its number of examples and its metrics."""
        counts = harmless([reply.num_examples for reply in replies], self.cap_examples)
        sent = [reply.metrics for reply in replies]
        medians = median_metrics(sent)
        return [
            (reply.source[0], count, {**medians, **texts})
            for reply, count, texts in zip(replies, counts, text_metrics(sent), strict=True)
        ]

    def _metrics_from(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return guarded(function, *arguments, read=dict) or {}

    def _start_momentum(self) -> None:
        """Give Flower's FedAvgM a momentum, because from round 2 on it expects one even after a skip."""
        model = self.aggregator.model
        if model is not None and vars(self.strategy).get("momentum_vector", 0) is None:
            zeros = [np.zeros_like(array) for array in model.arrays]
            vars(self.strategy)["momentum_vector"] = zeros
