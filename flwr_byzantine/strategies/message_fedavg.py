"""``RobustFedAvg`` of the Message API: FedAvg with a rule in place of its average."""

from collections.abc import Callable, Iterable, Sequence
from inspect import Signature
from typing import Any, ClassVar, Self, Unpack

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from flwr_byzantine import rules
from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.aggregation.reports import capped, guarded, median_metrics
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.message import MessageAdapter
from flwr_byzantine.strategies.minimums import EnoughReplies, Minimum
from flwr_byzantine.strategies.options import (
    MessageOptions,
    full_signature,
    refuse_other_words,
    refuse_positional,
    rule_in_words,
)
from flwr_byzantine.strategies.records import write_record
from flwr_byzantine.strategies.settings import Declared, declare
from flwr_byzantine.strategies.words import MESSAGE_WORDS

MetricsFunction = Callable[[list[RecordDict], str], MetricRecord]


def median_metricrecords(records: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    """The median of each metric, in place of Flower's average weighted by what clients claim."""
    reports = [metrics for record in records for metrics in record.metric_records.values()]
    medians: dict[str, Any] = median_metrics(reports, leave_out=[weighted_by_key])
    return MetricRecord(medians)


def aggregate_metrics(
    function: MetricsFunction, replies: Sequence[Reply], weighted_by_key: str, cap_examples: bool
) -> MetricRecord:
    """Call a metrics function on what nodes sent, or on copies with capped numbers of examples."""
    contents = [reply.source.content for reply in replies]
    if cap_examples and function is not median_metricrecords:
        contents = guarded(_capped_records, replies, weighted_by_key) or []
    found = guarded(function, contents, weighted_by_key, read=_as_record) if contents else None
    return found or MetricRecord()


def _as_record(found: Any) -> MetricRecord:
    return MetricRecord(dict(found or {}))


def _capped_records(replies: Sequence[Reply], weighted_by_key: str) -> list[RecordDict]:
    """Copies of the nodes' records with capped numbers of examples."""
    capped_contents = []
    for count, reply in zip(capped([r.num_examples for r in replies]), replies, strict=True):
        content = reply.source.content
        name, metrics = next(iter(content.metric_records.items()))
        records: dict[str, Any] = dict(content.array_records)
        records[name] = MetricRecord({**metrics, weighted_by_key: count})
        if count:
            capped_contents.append(RecordDict(records))
    return capped_contents


class RobustFedAvg(EnoughReplies, MessageAdapter, FedAvg):
    """FedAvg with a robust rule in place of the weighted average.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload, learning_rate, order_by, on_too_few, on_dropped, bound, count_failures, buffers,
    audit_log, pre_aggregation, trusted_weights, suspicion, on_suspect, quarantine, node_names,
    checkpoint, cap_examples
        See :class:`flwr_byzantine.strategies.fit_strategies.RobustFedAvg`, with nodes in place of clients.
        Names of tensors are those of the array record, such as ``bn1.running_var``.
    train_metrics_aggr_fn, evaluate_metrics_aggr_fn : Callable or None
        The same as in FedAvg. None takes the median of each metric, and not an average weighted by the
        numbers of examples that nodes claim. After training, a function gets the replies of the nodes that
        a rule such as Krum selected, as with Flower's own Krum, MultiKrum and Bulyan.
    min_train_nodes, min_available_nodes : int or None
        How many nodes are asked in a round, and how many have to be there. None takes the number that the
        rule needs, and at least Flower's 2. A smaller number raises an error.
    **options
        Every other keyword argument of Flower's ``FedAvg``.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    TypeError
        If a keyword belongs to the ``aggregate_fit`` API.
    """

    def __new__(cls, *given: object, **options: object) -> Self:
        """Refuse values without a name."""
        refuse_positional(cls, given)
        return super().__new__(cls)

    def __init__(self, *, rule: rules.Rule, **options: Unpack[MessageOptions]) -> None:
        refuse_other_words(type(self), options)
        for name in ("train_metrics_aggr_fn", "evaluate_metrics_aggr_fn"):
            if options.get(name) is None:
                options[name] = median_metricrecords
        super().__init__(rule=rule, **options)

    min_train_nodes = Minimum()
    min_available_nodes = Minimum()
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show all keywords in signatures of subclasses."""
        super().__init_subclass__(**kwargs)
        declare(cls, MESSAGE_WORDS)
        cls.__signature__ = full_signature(
            cls, MessageOptions, FedAvg.__init__, RobustStrategy.__init__
        )

    def _aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        outcome = self._aggregate(server_round, list(replies), self.weighted_by_key)
        if not outcome.num_received and not outcome.failed:
            return None, None
        metrics = self._metrics_of(self.train_metrics_aggr_fn, self._reporting(outcome))
        metrics.update(outcome.metrics)
        return None if outcome.model is None else write_record(outcome.model), metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """The median of each reported metric, unless a function for metrics was given."""
        reports = self._reports(server_round, list(replies), self.weighted_by_key)
        if not reports:
            return None
        return self._metrics_of(self.evaluate_metrics_aggr_fn, reports)

    def _reporting(self, outcome: Outcome) -> tuple[Reply, ...]:
        """The nodes whose metrics count. As in Flower, they are the nodes that a rule selected.

        If a rule selects so few that most of them may be attackers, the metrics of all nodes count.
        """
        n = len(outcome.accepted)
        few = len(outcome.selected) <= 2 * self.rule.at(n).tolerated(n)
        medians = self.train_metrics_aggr_fn is median_metricrecords
        return outcome.accepted if medians and few else outcome.selected

    def _metrics_of(self, function: MetricsFunction, replies: Sequence[Reply]) -> MetricRecord:
        return aggregate_metrics(function, replies, self.weighted_by_key, self.cap_examples)


RobustFedAvg.__signature__ = full_signature(
    RobustFedAvg, MessageOptions, FedAvg.__init__, RobustStrategy.__init__
)


class Plain(Declared, RobustFedAvg):
    """FedAvg with a rule without parameters: ``class Mean(Plain, rule=rules.Mean)``."""

    def __init__(self, **options: Unpack[MessageOptions]) -> None:
        super().__init__(rule=self._kind(), **options)


class OfF(Declared, RobustFedAvg):
    """FedAvg with a rule whose only parameter is f or b: ``class Krum(OfF, rule=rules.Krum)``."""

    def __init__(
        self, *, num_malicious_nodes: float = 0, **options: Unpack[MessageOptions]
    ) -> None:
        """`num_malicious_nodes` is f, or b: a number, or a share of the replies such as 0.2, rounded up."""
        rule = rule_in_words(MESSAGE_WORDS, self._kind, num_malicious_nodes)
        super().__init__(rule=rule, **options)
