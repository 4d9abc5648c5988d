"""The strategies of Flower's ``aggregate_fit`` API."""

from functools import partial
from inspect import Signature
from typing import Any, ClassVar, Unpack

from flwr.common import Parameters
from flwr.server.strategy import FedAvg

from flwr_byzantine import rules
from flwr_byzantine.aggregation.reports import guarded, median, median_metrics
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.strategies import bygars
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.fit import (
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
    weighted,
    write_parameters,
)
from flwr_byzantine.strategies.fit_wrapped import ByzantineRobust
from flwr_byzantine.strategies.options import (
    FIT_WORDS,
    FitOptions,
    FitReputationOptions,
    full_signature,
    refuse_other_words,
    rule_in_words,
)

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
    "read_parameters",
    "write_parameters",
]


class RobustFedAvg(FitAdapter, FedAvg):
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
    on_too_few : str
        What a round without a robust result does, for which too few usable replies are left:
        ``"skip"`` (default) keeps the model, ``"raise"`` raises
        :class:`flwr_byzantine.TooFewUpdatesError`.
    on_dropped : str
        What f is in a round in which malformed replies were dropped. ``"keep_f"`` (default): what the
        rule was told, since nobody knows whose replies they were; where too few are left for it, the
        round is skipped. ``"lower_f"``: then the rule runs with the largest f that the others suffice
        for, lowered by no more than the number of dropped replies. Each such round is warned of, and its
        metrics say ``byzantine/f_lowered_by``.
    buffers : Collection[str | int], Callable[[str], bool] or None
        Tensors such as BatchNorm's running variance, which must not leave the range of what honest
        clients send: names, positions, or a function of the name. They are clamped to the interval from
        the (f + 1)-th smallest to the (f + 1)-th largest value, and no server optimiser moves them. None
        finds them by name (``running_mean``, ``running_var``), which only the Message API has: in this
        one, pass their positions in the model.
    audit_log : str, Path or None
        A file to append to what became of every client's reply, one line of JSON each; read it with
        ``python -m flwr_byzantine audit FILE``. The newest are in ``strategy.audit`` in any case.
    checkpoint : str, Path or None
        A file to keep the model, the round and the strategy's state in after every round, with the one
        before it beside it. Started again with the same file, clients and number of rounds, a run
        goes on where it was killed, and ends as if it had not been. Strategies around this one see
        nothing of it: give it to the outermost.
    **options
        Every keyword argument of Flower's ``FedAvg``.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    TypeError
        If a keyword is the Message API's.
    """

    def __init__(self, *, rule: rules.Rule, **options: Unpack[FitOptions]) -> None:
        refuse_other_words(type(self), options)
        super().__init__(rule=rule, **options)

    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let signatures show all keywords."""
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(
            cls, FitOptions, FedAvg.__init__, RobustStrategy.__init__
        )

    def __repr__(self) -> str:
        """Name of the strategy, and its rule."""
        return f"{type(self).__name__}(rule={self.aggregator.rule})"

    def _aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        if failures and not self.accept_failures:
            return None, {}
        outcome = self.aggregator.aggregate(server_round, read_results(results))
        if not results:
            return None, {}
        parameters = None if outcome.model is None else write_parameters(outcome.model)
        function, accepted = self.fit_metrics_aggregation_fn, outcome.accepted
        own = guarded(function, weighted(accepted)) if function and accepted else None
        return parameters, {**(own or {}), **outcome.metrics}

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """Median of the reported losses, and of each metric unless a function for them was given."""
        reports = read_reports(server_round, results)
        if not reports or (failures and not self.accept_failures):
            return None, {}
        function = self.evaluate_metrics_aggregation_fn
        if function is None:
            metrics: Any = median_metrics([report.metrics for report in reports])
        else:
            metrics = guarded(function, weighted(reports)) or {}
        return median(losses(reports)), metrics


RobustFedAvg.__signature__ = full_signature(
    RobustFedAvg, FitOptions, FedAvg.__init__, RobustStrategy.__init__
)
_rule = partial(rule_in_words, FIT_WORDS)


class Mean(RobustFedAvg):
    """Unweighted mean of the clients' models: :class:`flwr_byzantine.rules.Mean`."""

    def __init__(self, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=rules.Mean(), **options)


class Median(RobustFedAvg):
    """Coordinate-wise median: :class:`flwr_byzantine.rules.Median`."""

    def __init__(self, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=rules.Median(), **options)


class TrimmedMean(RobustFedAvg):
    """Coordinate-wise trimmed mean: :class:`flwr_byzantine.rules.TrimmedMean`.

    `num_malicious_clients` is b.
    """

    def __init__(self, *, num_malicious_clients: int = 0, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=_rule(rules.TrimmedMean, num_malicious_clients), **options)


class Phocas(RobustFedAvg):
    """Mean of the values nearest the trimmed mean: :class:`flwr_byzantine.rules.Phocas`.

    `num_malicious_clients` is b.
    """

    def __init__(self, *, num_malicious_clients: int = 0, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=_rule(rules.Phocas, num_malicious_clients), **options)


class Krum(RobustFedAvg):
    """The model nearest its neighbours: :class:`flwr_byzantine.rules.Krum`.

    `num_malicious_clients` is f. As in Flower's Krum, `num_clients_to_keep` above 0 averages so many of the
    best models, which is Multi-Krum.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        num_clients_to_keep: int = 0,
        **options: Unpack[FitOptions],
    ) -> None:
        rule = (
            _rule(rules.MultiKrum, num_malicious_clients, num_clients_to_keep)
            if num_clients_to_keep
            else _rule(rules.Krum, num_malicious_clients)
        )
        super().__init__(rule=rule, **options)


class MultiKrum(RobustFedAvg):
    """Mean of the models nearest their neighbours: :class:`flwr_byzantine.rules.MultiKrum`.

    `num_malicious_clients` is f, and `num_clients_to_keep` is m; None is n - f - 2.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        num_clients_to_keep: int | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiKrum, num_malicious_clients, num_clients_to_keep), **options
        )


class Bulyan(RobustFedAvg):
    """Bulyan over Krum: :class:`flwr_byzantine.rules.Bulyan`.

    `num_malicious_clients` is f. `first_aggregation_rule` and `to_keep`, which Flower's Bulyan has, are
    accepted and without effect: the selection is always Krum's.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        first_aggregation_rule: Any = None,
        to_keep: Any = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(rule=_rule(rules.Bulyan, num_malicious_clients), **options)


class MultiBulyan(RobustFedAvg):
    """Bulyan over Multi-Krum: :class:`flwr_byzantine.rules.MultiBulyan`.

    `num_malicious_clients` is f, and `num_clients_to_keep` is m; None is n - 2f - 2.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: int = 0,
        num_clients_to_keep: int | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiBulyan, num_malicious_clients, num_clients_to_keep), **options
        )


class ByGARS(bygars.ByGARS, RobustFedAvg):
    """Reputation scores from a small data set on the server.

    See :class:`flwr_byzantine.strategies.bygars.ByGARS`.
    """

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        meta_steps: int = 3,
        tolerance: float | None = None,
        **options: Unpack[FitReputationOptions],
    ) -> None:
        super().__init__(auxiliary=auxiliary, meta_steps=meta_steps, tolerance=tolerance, **options)


class ByGARSPlusPlus(bygars.ByGARSPlusPlus, RobustFedAvg):
    """ByGARS with one auxiliary gradient a round.

    See :class:`flwr_byzantine.strategies.bygars.ByGARSPlusPlus`.
    """

    def __init__(
        self, *, auxiliary: AuxiliaryLoss, **options: Unpack[FitReputationOptions]
    ) -> None:
        super().__init__(auxiliary=auxiliary, **options)
