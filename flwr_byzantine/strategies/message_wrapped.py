"""``ByzantineRobust`` of the Message API."""

from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from logging import INFO
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flwr_byzantine.aggregation.gate import Reply
from flwr_byzantine.aggregation.reports import guarded
from flwr_byzantine.strategies.clean_replies import Form, clean_replies
from flwr_byzantine.strategies.hosts import no_strategy
from flwr_byzantine.strategies.message import MessageAdapter
from flwr_byzantine.strategies.records import read_record, write_record
from flwr_byzantine.strategies.wrapped import Wrapping


class Delegating(Strategy):
    """Asks another strategy for everything except aggregation."""

    def __init__(self, strategy: Strategy) -> None:
        if not isinstance(strategy, Strategy):
            advice = "For the `aggregate_fit` API, import from `flwr_byzantine`."
            raise no_strategy(strategy, "flwr.serverapp.strategy", advice)
        self.strategy = strategy

    def summary(self) -> None:
        """Log the wrapped strategy's settings."""
        log(INFO, "\t├──> In front of %s", type(self.strategy).__name__)
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)


class ByzantineRobust(Wrapping, MessageAdapter, Delegating):
    """Puts a robust rule in front of any Flower strategy.

    In place of each accepted reply, the wrapped strategy sees a clean reply with the rule's aggregate and
    with medians of what nodes report. So the server optimiser of FedAdam or FedAvgM runs on a robust
    aggregate. The wrapped strategy also sees the errors.

    Parameters
    ----------
    strategy : flwr.serverapp.strategy.Strategy
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

    def start(self, grid: Grid, initial_arrays: ArrayRecord, *args: Any, **kwargs: Any) -> Any:
        """Run all rounds, in Flower's loop or in the wrapped strategy's own.

        Parameters
        ----------
        grid, initial_arrays, *args, **kwargs
            The arguments of the wrapped strategy's ``start``.

        Returns
        -------
        Result
            The result of the wrapped strategy's ``start``.
        """
        if type(self.strategy).start is Strategy.start:
            return super().start(grid, initial_arrays, *args, **kwargs)
        own = _in_place_of(self.strategy, self).start
        given = signature(own).bind(grid, initial_arrays, *args, **kwargs)

        def loop(**changed: Any) -> Any:
            given.arguments.update(changed)
            return own(*given.args, **given.kwargs)

        if (
            "initial_arrays" not in given.arguments
        ):  # the model has another name: the hooks resume the run
            return loop()
        return self._run(loop, dict(given.arguments), own=True)

    def _aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        received = list(replies)
        outcome = self._aggregate(server_round, received, self._weight_key)
        if not outcome.num_received and not outcome.failed:
            return None, None
        if outcome.model is None:
            return None, MetricRecord(dict(outcome.metrics))
        clean = self._clean(received, outcome.accepted, write_record(outcome.model))
        with self._guarding() as strategy:
            arrays, metrics = strategy.aggregate_train(server_round, clean)
        metrics = MetricRecord() if metrics is None else metrics
        metrics.update(outcome.metrics)
        if arrays is None:
            self._note_refusal(server_round)
        else:
            arrays = write_record(self._finished(read_record(arrays), outcome))
        return arrays, metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Give the wrapped strategy clean replies with medians of the metrics."""
        received = list(replies)
        reports = self._reports(server_round, received, self._weight_key)
        if not reports:
            return None
        metrics: MetricRecord | None
        clean = self._clean(received, reports)
        with self._guarding() as strategy:
            metrics = strategy.aggregate_evaluate(server_round, clean)
        return metrics

    def _metrics_from(self, function: Callable[..., Any], *arguments: Any) -> Any:
        found = guarded(function, *arguments, read=MetricRecord)
        return MetricRecord() if found is None else found

    @property
    def _weight_key(self) -> str:
        return getattr(self.strategy, "weighted_by_key", "num-examples")

    def _clean(
        self,
        received: Sequence[Message],
        accepted: Sequence[Reply],
        arrays: ArrayRecord | None = None,
    ) -> list[Message]:
        """A message for each accepted reply, with the given arrays and medians. The errors follow."""
        key, cap = self._weight_key, self.cap_examples
        form = Form.of([reply.source for reply in accepted], key)
        clean = clean_replies(accepted, key, form, arrays, cap_examples=cap)
        return clean + [message for message in received if message.has_error()]


HOOKS = (
    "configure_train",
    "aggregate_train",
    "configure_evaluate",
    "aggregate_evaluate",
    "summary",
)


def _in_place_of(strategy: Strategy, robust: Strategy) -> Strategy:
    """The strategy with all its attributes, but with the hooks of another strategy."""

    def hook(name: str) -> Any:
        return lambda self, *args, **kwargs: getattr(robust, name)(*args, **kwargs)

    kind = type(strategy)
    front: Strategy = object.__new__(
        type(kind.__name__, (kind,), {name: hook(name) for name in HOOKS})
    )
    front.__dict__ = vars(strategy)  # attributes that its loop sets are the strategy's
    return front
