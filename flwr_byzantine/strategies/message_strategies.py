"""The strategies of Flower's Message API (``aggregate_train``)."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, Strategy

from flwr_byzantine import rules
from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.reports import capped, guarded, median_metrics
from flwr_byzantine.resume.snapshot import Snapshot
from flwr_byzantine.strategies import bygars
from flwr_byzantine.strategies.message import (
    Delegating,
    MessageAdapter,
    read_messages,
    read_record,
    read_reports,
    write_record,
)

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord]

__all__ = [
    "Bulyan",
    "ByGARS",
    "ByGARSPlusPlus",
    "ByzantineRobust",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "RobustFedAvg",
    "TrimmedMean",
    "read_record",
    "write_record",
]


def median_metricrecords(records: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    """Median of each metric, in place of Flower's average weighted by what clients claim."""
    reports = [metrics for record in records for metrics in record.metric_records.values()]
    medians: dict[str, Any] = median_metrics(reports, leave_out=[weighted_by_key])
    return MetricRecord(medians)


def capped_records(replies: Sequence[Reply], weighted_by_key: str) -> list[RecordDict]:
    """Copies of the nodes' records with example counts that no node can blow up."""
    capped_contents = []
    for count, reply in zip(capped([r.num_examples for r in replies]), replies, strict=True):
        content = reply.source.content
        name, metrics = next(iter(content.metric_records.items()))
        records: dict[str, Any] = dict(content.array_records)
        records[name] = MetricRecord({**metrics, weighted_by_key: count})
        if count:
            capped_contents.append(RecordDict(records))
    return capped_contents


def aggregate_metrics(
    replies: Sequence[Reply], function: MetricsFunction, weighted_by_key: str
) -> MetricRecord:
    """Call a metrics function on what nodes reported; what it cannot digest is left out."""
    if function is median_metricrecords:
        contents = [reply.source.content for reply in replies]
    else:
        contents = guarded(capped_records, replies, weighted_by_key) or []
    return (guarded(function, contents, weighted_by_key) if contents else None) or MetricRecord()


class RobustFedAvg(MessageAdapter, FedAvg):
    """FedAvg with a robust rule in place of the weighted average.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload, learning_rate, order_by, on_too_few, on_dropped, buffers, audit_log, checkpoint
        As for :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, with nodes for clients.
        Names of tensors are those of the array record, such as ``bn1.running_var``.
    train_metrics_aggr_fn, evaluate_metrics_aggr_fn : Callable or None
        As in FedAvg; None takes the median of each metric instead of an average weighted by the
        example counts nodes claim.
    **kwargs
        Every keyword argument of Flower's ``FedAvg``.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        *,
        rule: rules.Rule,
        train_metrics_aggr_fn: MetricsFunction | None = None,
        evaluate_metrics_aggr_fn: MetricsFunction | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rule=rule,
            train_metrics_aggr_fn=train_metrics_aggr_fn or median_metricrecords,
            evaluate_metrics_aggr_fn=evaluate_metrics_aggr_fn or median_metricrecords,
            **kwargs,
        )

    def _aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answers = read_messages("aggregate_train", replies, self.weighted_by_key)
        outcome = self.aggregator.aggregate(server_round, answers)
        if not answers:
            return None, None
        accepted, function = outcome.accepted, self.train_metrics_aggr_fn
        metrics = aggregate_metrics(accepted, function, self.weighted_by_key)
        metrics.update(outcome.metrics)
        return None if outcome.model is None else write_record(outcome.model), metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Median of each reported metric, unless a function for them was given."""
        reports = read_reports(server_round, replies, self.weighted_by_key)
        if not reports:
            return None
        return aggregate_metrics(reports, self.evaluate_metrics_aggr_fn, self.weighted_by_key)


class Mean(RobustFedAvg):
    """Unweighted mean of the nodes' models: :class:`flwr_byzantine.rules.Mean`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rule=rules.Mean(), **kwargs)


class Median(RobustFedAvg):
    """Coordinate-wise median: :class:`flwr_byzantine.rules.Median`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(rule=rules.Median(), **kwargs)


class TrimmedMean(RobustFedAvg):
    """Coordinate-wise trimmed mean: :class:`flwr_byzantine.rules.TrimmedMean`.

    Parameters
    ----------
    num_malicious_nodes : int
        b, the values left out at each end of every coordinate.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(self, *, num_malicious_nodes: int = 0, **kwargs: Any) -> None:
        super().__init__(rule=rules.TrimmedMean(num_malicious_nodes), **kwargs)


class Phocas(RobustFedAvg):
    """Mean of the values nearest the trimmed mean: :class:`flwr_byzantine.rules.Phocas`.

    Parameters
    ----------
    num_malicious_nodes : int
        b, the Byzantine values to survive in every coordinate.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(self, *, num_malicious_nodes: int = 0, **kwargs: Any) -> None:
        super().__init__(rule=rules.Phocas(num_malicious_nodes), **kwargs)


class Krum(RobustFedAvg):
    """The model nearest its neighbours: :class:`flwr_byzantine.rules.Krum`.

    Parameters
    ----------
    num_malicious_nodes : int
        f, the number of Byzantine nodes to survive.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(self, *, num_malicious_nodes: int = 0, **kwargs: Any) -> None:
        super().__init__(rule=rules.Krum(num_malicious_nodes), **kwargs)


class MultiKrum(RobustFedAvg):
    """Mean of the models nearest their neighbours: :class:`flwr_byzantine.rules.MultiKrum`.

    Parameters
    ----------
    num_malicious_nodes : int
        f, the number of Byzantine nodes to survive.
    num_nodes_to_select : int or None
        m, the number of models to average. None is n - f - 2; Flower's own default of 1 is Krum.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self,
        *,
        num_malicious_nodes: int = 0,
        num_nodes_to_select: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rule=rules.MultiKrum(num_malicious_nodes, num_nodes_to_select), **kwargs)


class Bulyan(RobustFedAvg):
    """Bulyan over Krum: :class:`flwr_byzantine.rules.Bulyan`.

    Parameters
    ----------
    num_malicious_nodes : int
        f, the number of Byzantine nodes to survive.
    selection_rule
        An argument of Flower's Bulyan, accepted and without effect: the selection is always Krum's.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self, *, num_malicious_nodes: int = 0, selection_rule: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(rule=rules.Bulyan(num_malicious_nodes), **kwargs)


class MultiBulyan(RobustFedAvg):
    """Bulyan over Multi-Krum: :class:`flwr_byzantine.rules.MultiBulyan`.

    Parameters
    ----------
    num_malicious_nodes : int
        f, the number of Byzantine nodes to survive.
    num_nodes_to_select : int or None
        m, the number of models averaged in each step. None is n - 2f - 2.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self,
        *,
        num_malicious_nodes: int = 0,
        num_nodes_to_select: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rule=rules.MultiBulyan(num_malicious_nodes, num_nodes_to_select), **kwargs)


class ByGARS(bygars.ByGARS, RobustFedAvg):
    """Reputation scores from a small data set on the server: :class:`flwr_byzantine.ByGARS`."""


class ByGARSPlusPlus(bygars.ByGARSPlusPlus, RobustFedAvg):
    """ByGARS with one auxiliary gradient a round: :class:`flwr_byzantine.ByGARSPlusPlus`."""


class ByzantineRobust(MessageAdapter, Delegating):
    """Puts a robust rule in front of any Flower strategy.

    The wrapped strategy sees one clean reply a round, the rule's, in place of the nodes' replies; so
    FedAdam's or FedAvgM's server optimiser runs on a robust aggregate. A wrapper that counts replies,
    as Flower's differential privacy does, is told to expect one.

    Parameters
    ----------
    strategy : flwr.serverapp.strategy.Strategy
        The strategy to protect.
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        ``payload``, ``learning_rate``, ``order_by``, ``on_too_few``, ``on_dropped``, ``buffers``,
        ``audit_log`` and ``checkpoint``, as for :class:`RobustFedAvg`. Checkpoints hold the wrapped
        strategy's state too: :class:`flwr_byzantine.resume.snapshot.Snapshot`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, strategy: Strategy, rule: rules.Rule, **options: Any) -> None:
        super().__init__(strategy=strategy, rule=rule, **options)
        self._snapshot = Snapshot(strategy)

    def _aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        answers = read_messages("aggregate_train", replies, self._weight_key)
        outcome = self.aggregator.aggregate(server_round, answers)
        if not answers:
            return None, None
        if outcome.model is None:
            return None, MetricRecord(dict(outcome.metrics))
        clean = self._clean_reply(outcome.accepted, write_record(outcome.model))
        arrays, metrics = self.strategy.aggregate_train(server_round, [clean])
        metrics = MetricRecord() if metrics is None else metrics
        metrics.update(outcome.metrics)
        if arrays is not None:
            fixed = self.aggregator.buffers_of(outcome.model)
            arrays = write_record(read_record(arrays).in_form_of(outcome.model, fixed))
        return arrays, metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Hand one clean reply to the wrapped strategy: medians of the metrics."""
        reports = read_reports(server_round, replies, self._weight_key)
        if not reports:
            return None
        return self.strategy.aggregate_evaluate(server_round, [self._clean_reply(reports)])

    @property
    def _weight_key(self) -> str:
        return getattr(self.strategy, "weighted_by_key", "num-examples")

    def _clean_reply(self, replies: Sequence[Reply], arrays: ArrayRecord | None = None) -> Message:
        """One message with the median of what nodes report, and the given arrays."""
        key = self._weight_key
        medians: dict[str, Any] = median_metrics([r.metrics for r in replies], leave_out=[key])
        medians[key] = max(1, sum(capped([reply.num_examples for reply in replies])))
        records: dict[str, Any] = {} if arrays is None else {"arrays": arrays}
        reply: Message = copy.copy(replies[0].source)
        reply.content = RecordDict(records | {"metrics": MetricRecord(medians)})
        return reply

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"strategy": self._snapshot.state()}

    def _load_state(self, state: Any) -> None:
        super()._load_state(state)
        self._snapshot.restore(state["strategy"])
