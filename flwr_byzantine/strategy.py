"""The strategies of Flower's ``aggregate_fit`` API."""

from collections.abc import Callable, Sequence
from typing import Any

from flwr.common import Code, EvaluateIns, EvaluateRes, FitIns, FitRes, Parameters, Scalar, Status
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import FedAvg, Strategy

from flwr_byzantine import rules
from flwr_byzantine.aggregation import Aggregator, LearningRate, Outcome
from flwr_byzantine.metrics import capped, guarded, median, median_metrics
from flwr_byzantine.payload import encode
from flwr_byzantine.updates import Model, Reply

FitResults = list[tuple[ClientProxy, FitRes]]
FitFailures = list[tuple[ClientProxy, FitRes] | BaseException]
EvaluateResults = list[tuple[ClientProxy, EvaluateRes]]
EvaluateFailures = list[tuple[ClientProxy, EvaluateRes] | BaseException]
Metrics = dict[str, Scalar]


def read_parameters(parameters: Parameters) -> Model:
    """View Flower's parameters as a model, without copying them."""
    return Model.read((str(i), tensor) for i, tensor in enumerate(parameters.tensors))


def write_parameters(model: Model) -> Parameters:
    """Write a model as Flower's parameters."""
    return Parameters([encode(array) for array in model.arrays], "numpy.ndarray")


def read_results(results: FitResults) -> list[Reply]:
    """What clients sent, as replies; nothing in it raises."""
    return [_read_result(proxy, result) for proxy, result in results]


def _read_result(proxy: ClientProxy, result: FitRes) -> Reply:
    client, source = str(proxy.cid), (proxy, result)
    try:
        tensors = [(str(i), tensor) for i, tensor in enumerate(result.parameters.tensors)]
        return Reply(client, tensors, dict(result.metrics or {}), source=source)
    except Exception as error:  # something else in place of the parameters or metrics
        return Reply(client, malformed=f"unreadable reply ({type(error).__name__})", source=source)


def _weighted(results: Sequence[FitRes | EvaluateRes]) -> list[tuple[int, Metrics]]:
    """What Flower's metrics functions take, with counts that no client can blow up."""
    counts = capped([result.num_examples for result in results])
    return [(count, result.metrics) for count, result in zip(counts, results, strict=True) if count]


def _fit_metrics(
    outcome: Outcome, function: Callable[[list[tuple[int, Metrics]]], Metrics] | None
) -> Metrics:
    accepted = [reply.source[1] for reply in outcome.accepted]
    own = guarded(function, _weighted(accepted)) if function and accepted else None
    return {**(own or {}), **outcome.metrics}


class RobustFedAvg(FedAvg):
    """FedAvg with a robust rule in place of the weighted average.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload : str
        ``"parameters"`` (default), or ``"gradients"`` where clients send gradients instead of models.
    learning_rate : float or Callable[[int], float]
        For gradients: a number, or a function of the round.
    order_by : str or None
        A metric clients report that fixes the order in which the rule sees them, for repeatable
        simulations. It decides ties and rounding only.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.aggregator = Aggregator(rule, payload, learning_rate, order_by)

    def __repr__(self) -> str:
        """Name of the strategy, and its rule."""
        return f"{type(self).__name__}(rule={self.aggregator.rule})"

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Sample clients as FedAvg does, and remember the model they are given."""
        self.aggregator.model = read_parameters(parameters)
        return super().configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        """Aggregate the clients' replies with the rule; None keeps the model as it is."""
        if not results or (failures and not self.accept_failures):
            return None, {}
        outcome = self.aggregator.aggregate(server_round, read_results(results))
        parameters = None if outcome.model is None else write_parameters(outcome.model)
        return parameters, _fit_metrics(outcome, self.fit_metrics_aggregation_fn)

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """Median of the reported losses, and of each metric unless a function for them was given."""
        if not results or (failures and not self.accept_failures):
            return None, {}
        reports = [result for _, result in results]
        function = self.evaluate_metrics_aggregation_fn
        if function is None:
            metrics: Any = median_metrics([report.metrics or {} for report in reports])
        else:
            metrics = guarded(function, _weighted(reports)) or {}
        return median(report.loss for report in reports), metrics


class Mean(RobustFedAvg):
    """Unweighted mean of the clients' models: :class:`flwr_byzantine.rules.Mean`."""

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
    num_malicious_clients : int
        b, the values left out at each end of every coordinate.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(self, *, num_malicious_clients: int = 0, **kwargs: Any) -> None:
        super().__init__(rule=rules.TrimmedMean(num_malicious_clients), **kwargs)


class Phocas(RobustFedAvg):
    """Mean of the values nearest the trimmed mean: :class:`flwr_byzantine.rules.Phocas`.

    Parameters
    ----------
    num_malicious_clients : int
        b, the Byzantine values to survive in every coordinate.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(self, *, num_malicious_clients: int = 0, **kwargs: Any) -> None:
        super().__init__(rule=rules.Phocas(num_malicious_clients), **kwargs)


class Krum(RobustFedAvg):
    """The model nearest its neighbours: :class:`flwr_byzantine.rules.Krum`.

    Parameters
    ----------
    num_malicious_clients : int
        f, the number of Byzantine clients to survive.
    num_clients_to_keep : int
        As in Flower's Krum: above 0, the mean of so many best models, which is Multi-Krum.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self, *, num_malicious_clients: int = 0, num_clients_to_keep: int = 0, **kwargs: Any
    ) -> None:
        rule = (
            rules.MultiKrum(num_malicious_clients, num_clients_to_keep)
            if num_clients_to_keep
            else rules.Krum(num_malicious_clients)
        )
        super().__init__(rule=rule, **kwargs)


class MultiKrum(RobustFedAvg):
    """Mean of the models nearest their neighbours: :class:`flwr_byzantine.rules.MultiKrum`.

    Parameters
    ----------
    num_malicious_clients : int
        f, the number of Byzantine clients to survive.
    num_clients_to_keep : int or None
        m, the number of models to average. None is n - f - 2.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        num_clients_to_keep: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rule=rules.MultiKrum(num_malicious_clients, num_clients_to_keep), **kwargs)


class Bulyan(RobustFedAvg):
    """Bulyan over Krum: :class:`flwr_byzantine.rules.Bulyan`.

    Parameters
    ----------
    num_malicious_clients : int
        f, the number of Byzantine clients to survive.
    first_aggregation_rule, to_keep
        Arguments of Flower's Bulyan, accepted and without effect: the selection is always Krum's.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        first_aggregation_rule: Any = None,
        to_keep: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rule=rules.Bulyan(num_malicious_clients), **kwargs)


class MultiBulyan(RobustFedAvg):
    """Bulyan over Multi-Krum: :class:`flwr_byzantine.rules.MultiBulyan`.

    Parameters
    ----------
    num_malicious_clients : int
        f, the number of Byzantine clients to survive.
    num_clients_to_keep : int or None
        m, the number of models averaged in each step. None is n - 2f - 2.
    **kwargs
        As for :class:`RobustFedAvg`.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        num_clients_to_keep: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            rule=rules.MultiBulyan(num_malicious_clients, num_clients_to_keep), **kwargs
        )


class ByzantineRobust(Strategy):
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
                "Parameter `strategy` should be a strategy of `flwr.server.strategy`. "
                f"Found `strategy = {strategy!r}`. For the Message API, import from "
                "`flwr_byzantine.serverapp`."
            )
        self.strategy = strategy
        self.aggregator = Aggregator(rule, payload, learning_rate, order_by)

    def __repr__(self) -> str:
        """The wrapped strategy and the rule."""
        return f"ByzantineRobust(strategy={self.strategy!r}, rule={self.aggregator.rule})"

    def initialize_parameters(self, client_manager: ClientManager) -> Parameters | None:
        """Ask the wrapped strategy."""
        return self.strategy.initialize_parameters(client_manager)

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Ask the wrapped strategy, and remember the model clients are given."""
        self.aggregator.model = read_parameters(parameters)
        return self.strategy.configure_fit(server_round, parameters, client_manager)

    def aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        """Aggregate with the rule, and hand the one result to the wrapped strategy."""
        if not results or (failures and not getattr(self.strategy, "accept_failures", True)):
            return None, {}
        outcome = self.aggregator.aggregate(server_round, read_results(results))
        if outcome.model is None:
            return None, dict(outcome.metrics)
        accepted = [reply.source[1] for reply in outcome.accepted]
        reported: Any = median_metrics([reply.metrics for reply in outcome.accepted])
        clean = FitRes(
            Status(Code.OK, ""),
            write_parameters(outcome.model),
            max(1, sum(capped([result.num_examples for result in accepted]))),
            reported,
        )
        proxy = outcome.accepted[0].source[0]
        parameters, metrics = self.strategy.aggregate_fit(server_round, [(proxy, clean)], [])
        return parameters, {**metrics, **outcome.metrics}

    def configure_evaluate(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, EvaluateIns]]:
        """Ask the wrapped strategy."""
        return self.strategy.configure_evaluate(server_round, parameters, client_manager)

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """Hand one clean report to the wrapped strategy: medians of the losses and metrics."""
        reports = [result for _, result in results]
        loss = median(report.loss for report in reports)
        if loss is None:
            return None, {}
        metrics: Any = median_metrics([report.metrics or {} for report in reports])
        count = max(1, sum(capped([report.num_examples for report in reports])))
        clean = EvaluateRes(Status(Code.OK, ""), loss, count, metrics)
        return self.strategy.aggregate_evaluate(server_round, [(results[0][0], clean)], [])

    def evaluate(self, server_round: int, parameters: Parameters) -> tuple[float, Metrics] | None:
        """Ask the wrapped strategy."""
        return self.strategy.evaluate(server_round, parameters)
