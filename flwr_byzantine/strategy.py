"""The strategies of Flower's ``aggregate_fit`` API."""

from typing import Any

import numpy as np
from flwr.common import Code, EvaluateRes, FitRes, Parameters, Status
from flwr.server.strategy import FedAvg, Strategy

from flwr_byzantine import reputed, rules
from flwr_byzantine.fit_api import (
    Delegating,
    EvaluateFailures,
    EvaluateResults,
    FitFailures,
    FitResults,
    Guarded,
    Metrics,
    losses,
    read_parameters,
    read_reports,
    read_results,
    weighted,
    write_parameters,
)
from flwr_byzantine.metrics import capped, guarded, median, median_metrics
from flwr_byzantine.snapshot import Snapshot

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


class RobustFedAvg(Guarded, FedAvg):
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
        metrics say ``f_lowered_by``.
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
    **kwargs
        Every keyword argument of Flower's ``FedAvg``.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

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


class ByGARS(reputed.ByGARS, RobustFedAvg):
    r"""Reputation scores from a small data set on the server, for any number of Byzantine clients.

    With :math:`H_t` one row :math:`h_i` a client (its gradient, or :math:`w_t - w_i`), k times

    .. math::

        \hat w = w_t - \gamma_t H_t^T q \quad (1), \qquad
        q \leftarrow q + \alpha_t \gamma_t H_t \nabla L_t(\hat w) \quad (2)

    and then :math:`w_{t+1} = w_t - \gamma_t H_t^T q_{t+1}`. The scores q may be negative: a client that
    always sends the negated gradient becomes useful. They persist; clients absent from a round keep
    theirs. They belong to the ids the server knows the clients by, and are in every round's metrics as
    ``reputation/<client>``.

    Parameters
    ----------
    auxiliary : flwr_byzantine.auxiliary.AuxiliaryLoss
        Gradient (and loss) on the server's own data, such as
        :class:`flwr_byzantine.auxiliary.TorchAuxiliaryLoss`.
    learning_rate : float or Callable[[int], float]
        :math:`\gamma_t`, 0.1 at first by default. Normalised, the model's step is at most so many times
        as long as the auxiliary gradient, however many steps clients took that send models. To the letter,
        clients that send models move the model by :math:`\sum_i q_i (w_i - w_t)` where it is 1: a sum,
        not an average.
    meta_learning_rate : float or Callable[[int], float]
        :math:`\alpha_t`.
    meta_steps : int
        k, at least 1; each costs an auxiliary gradient while the clients wait.
    tolerance : float or None
        Where given, the round's meta updates end at the first that does not lower the auxiliary loss by
        more than this, and that one is not made.
    initial_reputation : float
        Score of a client seen for the first time. 0 is the paper's; 1 / n starts as averaging does.
    max_norm_ratio : float
        Without `normalize`, a row of :math:`H_t` longer than so many times the usual auxiliary gradient
        is scaled down to that length, which bounds :math:`\kappa` of assumption 2. The usual one has the
        median length of the newest nine, so that one bad step does not loosen the limit. A row that is
        not finite is left out of the round, and its inner products are 0. All other rows are as the
        client sent them.
    normalize : bool
        True, the default, is the normalised form, which deviates from the paper. All rows become as long
        as the auxiliary gradient at :math:`w_t`, which is computed while the clients compute theirs.
        Cosines take the place of inner products, which square how much gradients change in training. The
        model moves by :math:`q / \sum_i |q_i|`, so that :math:`\gamma_t` is the step size of plain
        averaging. ByGARS keeps its scores so divided, and leaves out the part of
        :math:`\nabla L_t(\hat w)` opposite to :math:`\nabla L_t(w_t)`: a pseudo update that goes too far
        asks for a shorter step, and would turn the scores of honest clients negative. False is the paper
        to the letter.
    **kwargs
        As for :class:`RobustFedAvg`, without its rule.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Tensors without a gradient (BatchNorm's statistics, integers) stay as they are.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, figure 1a, equations 1 and 2. The lengths of `normalize` are
    those of Cao, Fang, Liu, Gong 2021, FLTrust, section IV.
    """


class ByGARSPlusPlus(reputed.ByGARSPlusPlus, RobustFedAvg):
    r"""ByGARS with one auxiliary gradient a round, taken while clients compute the next one.

    .. math::

        w_{t+1} = w_t - \gamma_t H_t^T q_t, \qquad
        q_{t+1} = (1 - \alpha_t) q_t + \alpha_t H_t \nabla L_t(w_t) \quad (3)

    With the paper's :math:`q_1 = 0` the first round moves nothing: the scores learn from it.

    Parameters
    ----------
    auxiliary : Callable
        As for :class:`ByGARS`; only the gradient is asked for. It runs in a thread of its own while the
        clients compute; what it raises ends the round.
    learning_rate, meta_learning_rate, initial_reputation, max_norm_ratio, normalize
        As for :class:`ByGARS`. Theorem 2 asks for sums of :math:`\alpha_t` and :math:`\gamma_t` that
        diverge, of squares that do not, and :math:`\gamma_t / \alpha_t \to 0`:
        :class:`flwr_byzantine.schedules.PowerDecay`, with the larger power for :math:`\gamma_t`.
    **kwargs
        As for :class:`RobustFedAvg`, without its rule. With `checkpoint` a round waits for its scores.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    Regatti, Chen, Gupta 2020, ByGARS, figure 1b, equation 3, theorems 1 and 2.
    """


class ByzantineRobust(Guarded, Delegating):
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
        ``audit_log`` and ``checkpoint``, as for :class:`RobustFedAvg`. Checkpoints hold the wrapped
        strategy's state too: :class:`flwr_byzantine.snapshot.Snapshot`.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, strategy: Strategy, rule: rules.Rule, **options: Any) -> None:
        super().__init__(strategy=strategy, rule=rule, **options)
        self._snapshot = Snapshot(strategy)

    def __repr__(self) -> str:
        """The wrapped strategy and the rule."""
        return f"ByzantineRobust(strategy={self.strategy!r}, rule={self.aggregator.rule})"

    def _aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        if failures and not getattr(self.strategy, "accept_failures", True):
            self._start_momentum()
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
        loss = median(losses(reports))
        if loss is None:
            return None, {}
        metrics: Any = median_metrics([report.metrics for report in reports])
        count = max(1, sum(capped([report.num_examples for report in reports])))
        clean = EvaluateRes(Status(Code.OK, ""), loss, count, metrics)
        proxy = reports[0].source[0]
        return self.strategy.aggregate_evaluate(server_round, [(proxy, clean)], [])

    def _start_momentum(self) -> None:
        """Flower's FedAvgM asserts from round 2 on that it has a momentum, also if round 1 was skipped."""
        model = self.aggregator.model
        if model is not None and vars(self.strategy).get("momentum_vector", 0) is None:
            zeros = [np.zeros_like(array) for array in model.arrays]
            vars(self.strategy)["momentum_vector"] = zeros

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"strategy": self._snapshot.state()}

    def _load_state(self, state: Any) -> None:
        super()._load_state(state)
        self._snapshot.restore(state["strategy"])
