"""Flower's ``aggregate_fit`` API: its objects as models and replies, and hooks that can be resumed."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO, WARNING
from typing import Any

from flwr.common import EvaluateIns, EvaluateRes, FitIns, FitRes, Parameters, Scalar
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import Strategy

from flwr_byzantine.aggregation.gate import Model, Reply, gate_reports
from flwr_byzantine.aggregation.npy import MalformedTensorError, encode
from flwr_byzantine.aggregation.outcome import Outcome
from flwr_byzantine.aggregation.reports import capped, guarded
from flwr_byzantine.checks import wrong
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.failures import Asked, errors_of_clients, log_missing, who_failed
from flwr_byzantine.strategies.hosts import inside
from flwr_byzantine.strategies.words import FIT_API, FIT_WORDS

FitResults = list[tuple[ClientProxy, FitRes]]
FitFailures = list[tuple[ClientProxy, FitRes] | BaseException]
EvaluateResults = list[tuple[ClientProxy, EvaluateRes]]
EvaluateFailures = list[tuple[ClientProxy, EvaluateRes] | BaseException]
Metrics = dict[str, Scalar]
MetricsFunction = Callable[[list[tuple[int, Metrics]]], Metrics]


def read_parameters(parameters: Parameters) -> Model:
    """View Flower's parameters as a model, without copying them.

    Parameters
    ----------
    parameters : flwr.common.Parameters
        One .npy file in bytes for each tensor.

    Returns
    -------
    flwr_byzantine.aggregation.gate.Model
        Its tensors have the names "0", "1" and so on.

    Raises
    ------
    flwr_byzantine.aggregation.npy.MalformedTensorError
        If a tensor is no such file. It is a ValueError.
    """
    return Model.read((str(i), tensor) for i, tensor in enumerate(parameters.tensors))


def write_parameters(model: Model) -> Parameters:
    """Write a model as Flower's parameters. It is copied once.

    Parameters
    ----------
    model : flwr_byzantine.aggregation.gate.Model
        Any model. Names of tensors are left out, because this API has none.

    Returns
    -------
    flwr.common.Parameters
        One .npy file in bytes for each tensor.
    """
    return Parameters([encode(array) for array in model.arrays], "numpy.ndarray")


def read_results(results: FitResults) -> list[Reply]:
    """What clients sent after training, as replies. Nothing that a client sends raises an error."""
    return [_read(proxy, result, trained=True) for proxy, result in results]


def _read(proxy: ClientProxy, result: Any, trained: bool) -> Reply:
    client, source = str(proxy.cid), (proxy, result)
    try:
        sent = result.parameters.tensors if trained else [result.loss]
        return Reply(
            client,
            [(str(i), tensor) for i, tensor in enumerate(sent)] if trained else (),
            dict(result.metrics or {}),
            result.num_examples,
            source=source,
        )
    except Exception as error:  # something else in place of the parameters or metrics
        return Reply(client, malformed=f"unreadable reply ({type(error).__name__})", source=source)


def aggregate_metrics(
    function: MetricsFunction, replies: Sequence[Reply], cap_examples: bool
) -> Metrics:
    """Call a user's function on the numbers of examples and metrics that clients sent."""
    counts = [reply.num_examples for reply in replies]
    if cap_examples:
        counts = capped(counts)
    sent = [
        (count, dict(reply.metrics))
        for count, reply in zip(counts, replies, strict=True)
        if count or not cap_examples
    ]
    return (guarded(function, sent, read=_as_metrics) if sent else None) or {}


def _as_metrics(found: Any) -> Metrics:
    return dict(found or {})


def losses(replies: Iterable[Reply]) -> list[Any]:
    """The losses that clients report."""
    return [reply.source[1].loss for reply in replies]


class FitAdapter(RobustStrategy, Strategy):
    """Flower's hooks as a mixin. They know the model that clients got, and they resume a run.

    Flower's server always counts its rounds from 1. Rounds that a checkpoint has done already ask no
    client and change nothing. After the last of them, the server evaluates the model again. The next
    round goes on as if there had been no break.
    """

    words = FIT_API
    rule_words = FIT_WORDS
    _api = "aggregate_fit"
    _given: Parameters | None = None
    _instead = False  # whether the round began with another model than the server's
    _first_is_ours = False
    _asked: Asked | None = None
    _asked_to_evaluate: Asked | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for part in inside(self):
            given = getattr(part, "initial_parameters", None)
            if given is not None:
                self._first_is_ours = True
                self._read_first(given)

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """Return the checkpoint's model. If there is none, ask the strategy."""
        initial = super().initialize_parameters(client_manager)  # type: ignore[safe-super]
        self._first_is_ours = initial is not None
        found = self._resume(None if initial is None else lambda: self._read_first(initial))
        if found is not None:
            return _parameters(found.tensors)
        if initial is None:
            log(
                WARNING,
                "The first model comes from one client, which may be Byzantine. Pass `initial_parameters`",
            )
        return initial

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Ask the strategy, and remember the model that clients get."""
        model = self._read_first(parameters)
        if self._is_done(server_round, model):
            return []
        self._look_around()
        self._instead = not self._goes_on(server_round, _tensors(parameters))
        if self._instead and self._found is not None:
            parameters = _parameters(self._found.tensors)
            model = read_parameters(parameters)
        self.aggregator.begin(server_round, model)
        self._given = parameters
        self._say_that_flower_waits(client_manager.num_available())
        asked: list[tuple[ClientProxy, FitIns]]
        asked = (
            super().configure_fit(  # type: ignore[safe-super]
                server_round, parameters, client_manager
            )
            or []
        )  # Flower takes None for nobody
        self._asked = Asked(server_round, tuple(str(proxy.cid) for proxy, _ in asked))
        for proxy, _ in asked[:1]:
            self.aggregator.watch.learn_names(getattr(proxy, "grid", None), self._asked.clients)
        self._note_asked(server_round, len(asked))
        if not asked:  # Flower makes no other calls in such a round
            available = self.words.minimums[-1]
            self.aggregator.skip(
                server_round, f"no client was asked; a larger `{available}` makes Flower wait"
            )
        return asked

    def _say_that_flower_waits(self, connected: int) -> None:
        """Log how many clients are there, because Flower waits for a day without a log line."""
        name = self.words.minimums[-1]
        least = getattr(self, name, 0)
        if connected < least:
            text = "Waiting for clients to connect. %s are connected, and `%s` is %s"
            log(INFO, text, connected, name, least)

    def _read_first(self, parameters: Parameters) -> Model:
        """Read a model. Only the first model can be wrong, because a client may have given it."""
        if not isinstance(parameters, Parameters):
            advice = "Pass `ndarrays_to_parameters(arrays)` of `flwr.common`."
            raise wrong("initial_parameters", "Flower's `Parameters`", parameters, advice)
        try:
            return read_parameters(parameters)
        except MalformedTensorError as error:
            found, advice = str(error), "Pass `ndarrays_to_parameters` of its arrays."
            if not self._first_is_ours:
                found = f"none, and what a client gave in its place cannot be read: {error}"
                advice = "Pass `initial_parameters`."
            expected = "the model to start from, in floating-point or whole numbers"
            raise wrong("initial_parameters", expected, parameters, advice, found=found) from error

    def aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        """Aggregate the clients' replies with the rule. None means that the model does not change."""
        if server_round <= self._done:
            tensors = self._passed_over()
            return None if tensors is None else _parameters(tensors), {}
        parameters, metrics = self._aggregate_fit(server_round, results, failures)
        if self._instead:
            parameters = parameters or self._given
        after = parameters or self._given
        if after is not None:
            self._save(server_round, _tensors(after))
        return parameters, metrics

    def _refuse(self, server_round: int, results: FitResults, failures: FitFailures) -> None:
        """Skip a round because clients failed and ``accept_failures`` is False."""
        reason = f"{len(failures)} clients failed, and `accept_failures=False` refuses such rounds"
        failed = self._failed(self._asked, server_round, results, failures)
        self.aggregator.skip(server_round, reason, read_results(results), failed)

    def _aggregate(self, server_round: int, results: FitResults, failures: FitFailures) -> Outcome:
        """Aggregate with the rule."""
        failed = self._failed(self._asked, server_round, results, failures)
        return self.aggregator.aggregate(server_round, read_results(results), failed)

    def _failed(
        self, asked: Asked | None, server_round: int, results: Any, failures: Any
    ) -> dict[str, str]:
        answered = {str(proxy.cid) for proxy, _ in results}
        return who_failed(asked, server_round, answered, errors_of_clients(failures))

    def _reports(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> list[Reply]:
        """What clients sent after evaluation. The log names clients whose replies cannot be read."""
        reasons = self._failed(self._asked_to_evaluate, server_round, results, failures)
        sent = [_read(proxy, result, trained=False) for proxy, result in results]
        accepted, dropped = gate_reports(sent)
        log_missing(server_round, reasons, dropped)
        return accepted

    @abstractmethod
    def _aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        """The outcome of a round, which the checkpoint keeps."""

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Ask the strategy."""
        if server_round <= self._done:
            return []
        asked = (
            super().configure_evaluate(  # type: ignore[safe-super]
                server_round, parameters, client_manager
            )
            or []
        )
        self._asked_to_evaluate = Asked(server_round, tuple(str(proxy.cid) for proxy, _ in asked))
        return asked

    def evaluate(self, server_round: int, parameters: Parameters) -> tuple[float, Metrics] | None:
        """Ask the strategy. For rounds that were done before, only the last one is evaluated.

        For the others Flower accepts None. A class that overrides this method may not accept it, so it gets
        the last round's evaluation.
        """
        evaluate = super().evaluate  # type: ignore[safe-super]
        if self._found is None or server_round > self._done:
            return evaluate(server_round, parameters)
        if server_round < self._done and type(self).evaluate is FitAdapter.evaluate:
            return None
        last = _parameters(self._found.tensors)
        found: tuple[float, Metrics] | None
        found = self._evaluated_again(lambda: evaluate(self._done, last))
        return found


def _tensors(parameters: Parameters) -> dict[str, bytes]:
    return {str(i): data for i, data in enumerate(parameters.tensors)}


def _parameters(tensors: Mapping[str, bytes]) -> Parameters:
    return Parameters(list(tensors.values()), "numpy.ndarray")
