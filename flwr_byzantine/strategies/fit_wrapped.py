"""``ByzantineRobust`` of the ``aggregate_fit`` API."""

from typing import Any

import numpy as np
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Status

from flwr_byzantine.aggregation.reports import capped, median_loss, median_metrics
from flwr_byzantine.strategies.fit import (
    Delegating,
    EvaluateFailures,
    EvaluateResults,
    FitAdapter,
    FitFailures,
    FitResults,
    Metrics,
    losses,
    read_parameters,
    read_reports,
    read_results,
    write_parameters,
)
from flwr_byzantine.strategies.wrapped import Wrapping


class ByzantineRobust(Wrapping, FitAdapter, Delegating):
    """Puts a robust rule in front of any Flower strategy.

    The wrapped strategy sees one clean result a round, the rule's, in place of the clients' replies;
    so FedAdam's or FedAvgM's server optimiser runs on a robust aggregate. A wrapper that counts results,
    as Flower's differential privacy does, is told to expect one.

    Parameters
    ----------
    strategy : flwr.server.strategy.Strategy
        The strategy to protect.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        ``payload``, ``learning_rate``, ``order_by``, ``on_too_few``, ``on_dropped``, ``buffers``,
        ``audit_log``, ``checkpoint`` and ``cap_examples``, as for :class:`RobustFedAvg`. Checkpoints
        hold the wrapped strategy's state too: :class:`flwr_byzantine.resume.snapshot.Snapshot`.

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
        outcome = self.aggregator.aggregate(server_round, read_results(results))
        if outcome.model is None:
            self._start_momentum()
            return None, dict(outcome.metrics) if results else {}
        counts = capped([reply.num_examples for reply in outcome.accepted])
        reported: Any = median_metrics([reply.metrics for reply in outcome.accepted])
        model = write_parameters(outcome.model)
        clean = FitRes(Status(Code.OK, ""), model, max(1, sum(counts)), reported)
        proxy = outcome.accepted[0].source[0]
        parameters, metrics = self.strategy.aggregate_fit(server_round, [(proxy, clean)], [])
        if parameters is not None:
            fixed = self.aggregator.buffers_of(outcome.model)
            moved = read_parameters(parameters).in_form_of(outcome.model, fixed)
            parameters = write_parameters(moved)
        return parameters, {**metrics, **outcome.metrics}

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """Hand one clean report to the wrapped strategy: medians of the losses and metrics."""
        reports = read_reports(server_round, results)
        if not reports:
            return None, {}
        loss = median_loss(losses(reports))
        metrics: Any = median_metrics([report.metrics for report in reports])
        count = max(1, sum(capped([report.num_examples for report in reports])))
        clean = EvaluateRes(Status(Code.OK, ""), loss, count, metrics)
        proxy = reports[0].source[0]
        loss_and_metrics: tuple[float | None, Metrics]
        loss_and_metrics = self.strategy.aggregate_evaluate(server_round, [(proxy, clean)], [])
        return loss_and_metrics

    def _start_momentum(self) -> None:
        """Flower's FedAvgM asserts from round 2 on that it has a momentum, also if round 1 was skipped."""
        model = self.aggregator.model
        if model is not None and vars(self.strategy).get("momentum_vector", 0) is None:
            zeros = [np.zeros_like(array) for array in model.arrays]
            vars(self.strategy)["momentum_vector"] = zeros
