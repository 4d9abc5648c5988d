"""The strategies of Flower's Message API (``aggregate_train``)."""

import copy
from collections.abc import Callable, Iterable, Sequence
from logging import INFO, WARNING
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from flwr_byzantine import rules
from flwr_byzantine.aggregation import Aggregator, LearningRate, Outcome
from flwr_byzantine.metrics import capped, guarded, median_metrics
from flwr_byzantine.payload import encode
from flwr_byzantine.updates import Model, Reply

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord]

__all__ = [
    "Bulyan",
    "ByzantineRobust",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "TrimmedMean",
]


def read_record(record: ArrayRecord) -> Model:
    """View Flower's array record as a model, without copying it."""
    return Model.read((name, array.data) for name, array in record.items())


def write_record(model: Model) -> ArrayRecord:
    """Write a model as Flower's array record."""
    return ArrayRecord(
        {
            name: Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", encode(array))
            for name, array in zip(model.names, model.arrays, strict=True)
        }
    )


def split_replies(replies: Iterable[Message], action: str) -> tuple[list[Message], bool]:
    """Messages with content, and whether there were errors, which are logged."""
    messages = list(replies)
    errors = [message for message in messages if message.has_error()]
    for message in errors:
        source, reason = message.metadata.src_node_id, message.error.reason
        log(INFO, "%s: error in reply from node %s: %s", action, source, reason)
    return [message for message in messages if message.has_content()], bool(errors)


def read_message(message: Message, weighted_by_key: str) -> Reply:
    """What a node sent, as a reply; nothing in it raises."""
    node = str(message.metadata.src_node_id)
    try:
        arrays = list(message.content.array_records.values())
        metrics = list(message.content.metric_records.values())
        if len(arrays) != 1 or len(metrics) != 1:
            wrong = (
                f"{len(arrays)} array records and {len(metrics)} metric records, expected one each"
            )
            return Reply(node, malformed=wrong, source=message)
        if weighted_by_key not in metrics[0]:
            return Reply(node, malformed=f"no metric {weighted_by_key!r}", source=message)
        tensors = [(name, _npy(array)) for name, array in arrays[0].items()]
        return Reply(node, tensors, dict(metrics[0]), source=message)
    except Exception as error:  # something else in place of the records
        return Reply(node, malformed=f"unreadable reply ({type(error).__name__})", source=message)


def _npy(array: Array) -> bytes:
    """Bytes of a tensor serialised by numpy; of any other, none, which the gate refuses."""
    return array.data if array.stype == "numpy.ndarray" else b""


def median_metricrecords(records: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    """Median of each metric, in place of Flower's average weighted by what clients claim."""
    reports = [metrics for record in records for metrics in record.metric_records.values()]
    medians: dict[str, Any] = median_metrics(reports, leave_out=[weighted_by_key])
    return MetricRecord(medians)


def capped_records(records: Sequence[RecordDict], weighted_by_key: str) -> list[RecordDict]:
    """Copies of the records with example counts that no client can blow up."""
    metrics = [next(iter(record.metric_records.items())) for record in records]
    counts = capped([record.get(weighted_by_key) for _, record in metrics])
    capped_metrics = [
        {name: MetricRecord({**record, weighted_by_key: count})}
        for (name, record), count in zip(metrics, counts, strict=True)
        if count
    ]
    arrays: list[dict[str, Any]] = [
        dict(record.array_records) for record, count in zip(records, counts, strict=True) if count
    ]
    return [RecordDict({**a, **m}) for a, m in zip(arrays, capped_metrics, strict=True)]


def aggregate_metrics(
    messages: Sequence[Message], function: MetricsFunction, weighted_by_key: str
) -> MetricRecord:
    """Call a metrics function on what nodes reported; what it cannot digest is left out."""
    contents = [message.content for message in messages]
    if function is not median_metricrecords:
        contents = guarded(capped_records, contents, weighted_by_key) or []
    if not contents:
        return MetricRecord()
    return guarded(function, contents, weighted_by_key) or MetricRecord()


def _reporting(messages: Iterable[Message], weighted_by_key: str) -> list[Message]:
    """Evaluation replies with exactly one metric record, with an example count."""
    good = []
    for message in messages:
        records = list(message.content.metric_records.values())
        if len(records) == 1 and weighted_by_key in records[0]:
            good.append(message)
        else:
            node = message.metadata.src_node_id
            log(WARNING, "aggregate_evaluate: dropped node %s: no single metric record", node)
    return good


class RobustFedAvg(FedAvg):
    """FedAvg with a robust rule in place of the weighted average.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload : str
        ``"parameters"`` (default), or ``"gradients"`` where nodes send gradients instead of models.
    learning_rate : float or Callable[[int], float]
        For gradients: a number, or a function of the round.
    order_by : str or None
        A metric nodes report that fixes the order in which the rule sees them, for repeatable
        simulations. It decides ties and rounding only.
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
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
        train_metrics_aggr_fn: MetricsFunction | None = None,
        evaluate_metrics_aggr_fn: MetricsFunction | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            train_metrics_aggr_fn=train_metrics_aggr_fn or median_metricrecords,
            evaluate_metrics_aggr_fn=evaluate_metrics_aggr_fn or median_metricrecords,
            **kwargs,
        )
        self.aggregator = Aggregator(rule, payload, learning_rate, order_by)

    def summary(self) -> None:
        """Log the rule, then FedAvg's settings."""
        log(INFO, "\t├──> Rule: %s", self.aggregator.rule)
        super().summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Sample nodes as FedAvg does, and remember the model they are given."""
        self.aggregator.model = read_record(arrays)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the nodes' replies with the rule; None keeps the model as it is."""
        messages, _ = split_replies(replies, "aggregate_train")
        if not messages:
            return None, None
        outcome = aggregate_messages(self.aggregator, server_round, messages, self.weighted_by_key)
        accepted = [reply.source for reply in outcome.accepted]
        metrics = aggregate_metrics(accepted, self.train_metrics_aggr_fn, self.weighted_by_key)
        metrics.update(outcome.metrics)
        return None if outcome.model is None else write_record(outcome.model), metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Median of each reported metric, unless a function for them was given."""
        messages, _ = split_replies(replies, "aggregate_evaluate")
        reporting = _reporting(messages, self.weighted_by_key)
        if not reporting:
            return None
        return aggregate_metrics(reporting, self.evaluate_metrics_aggr_fn, self.weighted_by_key)


def aggregate_messages(
    aggregator: Aggregator, server_round: int, messages: Sequence[Message], weighted_by_key: str
) -> Outcome:
    """One round over messages."""
    replies = [read_message(message, weighted_by_key) for message in messages]
    return aggregator.aggregate(server_round, replies)


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


class ByzantineRobust(Strategy):
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
    payload, learning_rate, order_by
        As for :class:`RobustFedAvg`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(
        self,
        strategy: Strategy,
        rule: rules.Rule,
        *,
        payload: str = "parameters",
        learning_rate: LearningRate = 1.0,
        order_by: str | None = None,
    ) -> None:
        if not isinstance(strategy, Strategy):
            raise ValueError(
                "Parameter `strategy` should be a strategy of `flwr.serverapp.strategy`. "
                f"Found `strategy = {strategy!r}`. For the `aggregate_fit` API, import from "
                "`flwr_byzantine`."
            )
        self.strategy = strategy
        self.aggregator = Aggregator(rule, payload, learning_rate, order_by)

    def summary(self) -> None:
        """Log the rule, then the wrapped strategy's settings."""
        log(
            INFO,
            "\t├──> Rule: %s, in front of %s",
            self.aggregator.rule,
            type(self.strategy).__name__,
        )
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the wrapped strategy, and remember the model nodes are given."""
        self.aggregator.model = read_record(arrays)
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate with the rule, and hand the one reply to the wrapped strategy."""
        messages, _ = split_replies(replies, "aggregate_train")
        if not messages:
            return None, None
        outcome = aggregate_messages(self.aggregator, server_round, messages, self._weight_key)
        if outcome.model is None:
            return None, MetricRecord(dict(outcome.metrics))
        accepted = [reply.source for reply in outcome.accepted]
        clean = self._clean_reply(accepted, write_record(outcome.model))
        arrays, metrics = self.strategy.aggregate_train(server_round, [clean])
        metrics = MetricRecord() if metrics is None else metrics
        metrics.update(outcome.metrics)
        return arrays, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Hand one clean reply to the wrapped strategy: medians of the metrics."""
        messages, _ = split_replies(replies, "aggregate_evaluate")
        reporting = _reporting(messages, self._weight_key)
        if not reporting:
            return None
        return self.strategy.aggregate_evaluate(server_round, [self._clean_reply(reporting)])

    @property
    def _weight_key(self) -> str:
        return getattr(self.strategy, "weighted_by_key", "num-examples")

    def _clean_reply(
        self, messages: Sequence[Message], arrays: ArrayRecord | None = None
    ) -> Message:
        """One message with the median of what the messages report, and the given arrays."""
        key = self._weight_key
        contents = [message.content for message in messages]
        metrics = median_metricrecords(contents, key)
        reported = [next(iter(content.metric_records.values())).get(key) for content in contents]
        metrics[key] = max(1, sum(capped(reported)))
        records: dict[str, Any] = {"metrics": metrics}
        if arrays is not None:
            records[next(iter(contents[0].array_records))] = arrays
        reply = copy.copy(messages[0])
        reply.content = RecordDict(records)
        return reply
