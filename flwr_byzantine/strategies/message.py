"""Flower's Message API: hooks that know the model, and that can be resumed."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from logging import INFO
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from flwr_byzantine.aggregation.gate import Reply, gate_reports
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.failures import Asked, failed_nodes, log_missing
from flwr_byzantine.strategies.records import (
    read_first,
    read_messages,
    read_record,
    record_of,
    tensors_of,
)
from flwr_byzantine.strategies.words import MESSAGE_API, MESSAGE_WORDS

EvaluateFunction = Callable[[int, ArrayRecord], MetricRecord | None]


class MessageAdapter(RobustStrategy, Strategy):
    """Flower's hooks as a mixin. They know the model that nodes got, and they resume a run.

    Flower's loop always counts its rounds from 1. Rounds that a checkpoint has done already ask no node
    and change nothing. After the last of them, the server evaluates the model again. The next round goes
    on as if there had been no break.
    """

    words = MESSAGE_API
    rule_words = MESSAGE_WORDS
    _api = "Message"
    _asked: Asked | None = None  # None if that is not known
    _asked_to_evaluate: Asked | None = None
    _given: ArrayRecord | None = None
    _instead = False  # whether the round began with another model than the loop's

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFunction | None = None,
    ) -> Result:
        """Run all rounds as in Flower, except those that a checkpoint has done already.

        Parameters
        ----------
        grid, num_rounds, timeout, train_config, evaluate_config, evaluate_fn
            The same as in Flower's strategies.
        initial_arrays : ArrayRecord
            The model to start from. It has no effect if there is a checkpoint of this run.

        Returns
        -------
        Result
            Flower's result, without the metrics of rounds that were done before.
        """
        given = {
            "grid": grid,
            "initial_arrays": initial_arrays,
            "num_rounds": num_rounds,
            "timeout": timeout,
            "train_config": train_config,
            "evaluate_config": evaluate_config,
            "evaluate_fn": evaluate_fn,
        }
        result: Result = self._run(super().start, given)
        return result

    def _run(self, loop: Callable[..., Any], given: dict[str, Any], own: bool = False) -> Any:
        """Call a loop over all rounds. If there is a checkpoint, it starts from the checkpoint's model.

        Flower's loop accepts None as the evaluation of a round that was done before. The user's ``own`` loop
        may not accept it, so it gets the last round's evaluation.
        """
        first = read_first(given["initial_arrays"])
        found = self._resume(lambda: first)
        if found is not None:
            given["initial_arrays"] = record_of(found.tensors)
        if given.get("evaluate_fn") is not None:
            given["evaluate_fn"] = self._not_again(given["evaluate_fn"], own)
        try:
            result = loop(**given)
        finally:
            self._begun = False
            if self.checkpoints is not None:
                self.checkpoints.release()
        if isinstance(result, Result) and not result.arrays:  # no round had a result
            result.arrays = given["initial_arrays"]
        return result

    def _not_again(self, evaluate_fn: EvaluateFunction, own: bool) -> EvaluateFunction:
        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            if server_round > self._done or self._found is None:
                return evaluate_fn(server_round, arrays)
            if server_round < self._done and not own:
                return None
            last, found = self._done, record_of(self._found.tensors)
            result: MetricRecord | None
            result = self._evaluated_again(lambda: evaluate_fn(last, found))
            return result

        return evaluate

    def summary(self) -> None:
        """Log the rule, then the strategy's settings."""
        log(INFO, "\t├──> Rule: %s", self.aggregator.rule)
        super().summary()  # type: ignore[safe-super]

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the strategy, and remember the model that nodes get."""
        model = read_first(arrays)
        if self._is_done(server_round, model):
            return []
        self._look_around()
        self._instead = not self._goes_on(server_round, tensors_of(arrays))
        if self._instead and self._found is not None:
            arrays = record_of(self._found.tensors)
            model = read_record(arrays)
        self.aggregator.begin(server_round, model)
        self._given = arrays
        messages = list(
            super().configure_train(  # type: ignore[safe-super]
                server_round, arrays, config, grid
            )
            or ()  # Flower takes None for nobody
        )
        self._asked = Asked.nodes(server_round, messages)
        self.aggregator.watch.learn_names(grid, self._asked.clients)
        self._note_asked(server_round, len(messages))
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate the nodes' replies with the rule. None means that the model does not change."""
        if server_round <= self._done:
            tensors = self._passed_over()
            return None if tensors is None else record_of(tensors), None
        if self._asked is not None and not self._asked.clients:  # as intended; Flower logs it
            return None, None
        arrays, metrics = self._aggregate_train(server_round, replies)
        if self._instead:
            arrays = arrays or self._given
        after = arrays or self._given
        if after is not None:
            self._save(server_round, tensors_of(after))
        return arrays, metrics

    @abstractmethod
    def _aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The outcome of a round, which the checkpoint keeps."""

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the strategy."""
        if server_round <= self._done:
            return []
        messages = super().configure_evaluate(  # type: ignore[safe-super]
            server_round, arrays, config, grid
        )
        asked = list(messages or ())
        self._asked_to_evaluate = Asked.nodes(server_round, asked)
        return asked

    def _aggregate(self, server_round: int, replies: Sequence[Message], key: str) -> Outcome:
        """Aggregate with the rule. ``key`` is the metric that is the number of examples."""
        failed = failed_nodes(self._asked, server_round, replies)
        return self.aggregator.aggregate(server_round, read_messages(replies, key, True), failed)

    def _reports(self, server_round: int, replies: Sequence[Message], key: str) -> list[Reply]:
        """What nodes sent after evaluation. The log names nodes whose replies cannot be read."""
        reasons = failed_nodes(self._asked_to_evaluate, server_round, replies)
        accepted, dropped = gate_reports(read_messages(replies, key, False))
        log_missing(server_round, reasons, dropped, "node")
        return accepted
