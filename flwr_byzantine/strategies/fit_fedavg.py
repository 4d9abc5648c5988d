"""``RobustFedAvg`` of the ``aggregate_fit`` API: FedAvg with a rule in place of its average."""

from inspect import Signature
from typing import Any, ClassVar, Self, Unpack

from flwr.common import Parameters
from flwr.server.strategy import FedAvg

from flwr_byzantine import rules
from flwr_byzantine.aggregation.reports import median_loss, median_metrics
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.fit import (
    EvaluateFailures,
    EvaluateResults,
    FitAdapter,
    FitFailures,
    FitResults,
    Metrics,
    aggregate_metrics,
    losses,
    write_parameters,
)
from flwr_byzantine.strategies.minimums import EnoughReplies, Minimum
from flwr_byzantine.strategies.options import (
    FitOptions,
    full_signature,
    refuse_other_words,
    refuse_positional,
    rule_in_words,
)
from flwr_byzantine.strategies.settings import Declared, declare
from flwr_byzantine.strategies.words import FIT_WORDS


class RobustFedAvg(EnoughReplies, FitAdapter, FedAvg):
    """FedAvg with a robust rule in place of the weighted average.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    payload : str
        With ``"parameters"`` (default), clients send models. With ``"gradients"``, they send gradients.
    learning_rate : float or Callable[[int], float]
        The step size for gradients: a number, or a function of the round.
    order_by : str or None
        A metric that clients report. It fixes the order in which the rule sees them, for repeatable
        simulations. The order decides only ties and rounding.
    on_too_few : str
        What happens in a round with too few usable replies for a robust result. ``"skip"`` (default) keeps
        the model. ``"raise"`` raises :class:`flwr_byzantine.TooFewUpdatesError`.
    on_dropped : str
        Which f holds in a round in which malformed replies were dropped. With ``"keep_f"`` (default), it is
        the rule's f, because dropped replies may be honest. If too few replies are left for it, the round
        is skipped. With ``"lower_f"``, the rule then runs with the largest f for which the other replies
        are enough. This f is lower by at most the number of dropped replies. Each such round logs a
        warning, and its metrics say ``byzantine/f_lowered_by``.
    bound : str
        What happens with fewer replies than the rule's theorem needs. With ``"keep"`` (default), the round
        is skipped. With ``"warn"``, the rule runs anyway, as Flower's rules do. Each such round logs a
        warning, because the rule then promises nothing.
    buffers : Collection[str | int], Callable[[str], bool] or None
        Tensors such as BatchNorm's running variance, which must stay in the range of what honest clients
        send: names, positions, or a function of the name. They are clamped to the interval from the
        (f + 1)-th smallest to the (f + 1)-th largest value, and no server optimiser moves them. None finds
        them by name (``running_mean``, ``running_var``). Only the Message API has names. In this API, pass
        their positions in the model.
    pre_aggregation : flwr_byzantine.rules.PreAggregation or None
        A step in front of the rule, such as ``NearestNeighborMixing(4)``, or several steps joined by ``>>``.
        Then ``pre_aggregation >> rule`` runs.
    trusted_weights : Mapping[str | int, float] or None
        Your own weights of the clients, by node id, such as the sizes of hospitals. They are for rules that
        average whole updates: each client that the rule selects counts with its weight. A client that is
        not listed gets the smallest weight, and the log warns of it. Never pass numbers that clients claim.
    audit_log : str, Path or None
        A file that records what became of every client's reply, with one line of JSON for each. Read it
        with ``python -m flwr_byzantine audit FILE``. The newest records are always in ``strategy.audit``.
    suspicion : flwr_byzantine.audit.Suspicion or None
        When a client is a suspect. The default is ``Suspicion(factor=50, rounds=3, of=50)``: its update was
        more than 50 times as large as usual in 3 of its last 50 rounds. Values that are not finite,
        malformed replies and the client's own failures count too. ``strategy.suspects`` holds the suspects.
    on_suspect : Callable or None
        A function that is called when a client becomes a suspect, with the round, the client's id and the
        evidence. If it raises an error, the error is logged.
    quarantine : bool
        Whether suspects are left out of the aggregate. At most f of them are, and each is logged. The rule
        keeps its f if the other replies are enough for it. Otherwise f is lowered by at most the number of
        suspects that are left out. ``strategy.pardon(id)`` clears a suspect.
    node_names : Mapping[str | int, str], str or None
        What people call clients: names by node id, or the key of a metric in which clients report a name.
        (They can report any name.) None takes the names with which keys were registered, or else the metric
        ``partition-id``. The log and the audit show these names beside the ids.
    checkpoint : str, Path or None
        A file that keeps the model, the round and the strategy's state after every round. The previous
        checkpoint is beside it. If a run was killed, start it again with the same file, clients and number
        of rounds. It then goes on, and ends as if it had not been killed. Strategies around this one do not
        see the checkpoint, so give it to the outermost strategy.
    min_fit_clients, min_available_clients : int or None
        How many clients are asked in a round, and how many have to be there. None takes the number that the
        rule needs, and at least Flower's 2. A smaller number raises an error.
    count_failures : bool
        Whether clients that answer with an error or not at all count as Byzantine. With False (default),
        they do not count towards f. With True, if too few replies are left, the rule runs with an f that is
        lower by at most the number of failed clients. If more than f clients fail, the round is skipped.
    cap_examples : bool
        Functions for metrics (``fit_metrics_aggregation_fn``, ``evaluate_metrics_aggregation_fn``) get the
        numbers of examples that clients send. So one client that claims many can outweigh all others. True
        cuts every number to the median of the positive numbers, and leaves out clients whose number is not
        positive.
    **options
        Every other keyword argument of Flower's ``FedAvg``.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    TypeError
        If a keyword belongs to the Message API.
    """

    def __new__(cls, *given: object, **options: object) -> Self:
        """Refuse values without a name."""
        refuse_positional(cls, given)
        return super().__new__(cls)

    def __init__(self, *, rule: rules.Rule, **options: Unpack[FitOptions]) -> None:
        refuse_other_words(type(self), options)
        super().__init__(rule=rule, **options)

    min_fit_clients = Minimum()
    min_available_clients = Minimum()
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show all keywords in signatures of subclasses."""
        super().__init_subclass__(**kwargs)
        declare(cls, FIT_WORDS)
        cls.__signature__ = full_signature(
            cls, FitOptions, FedAvg.__init__, RobustStrategy.__init__
        )

    def _aggregate_fit(
        self, server_round: int, results: FitResults, failures: FitFailures
    ) -> tuple[Parameters | None, Metrics]:
        if failures and not self.accept_failures:
            self._refuse(server_round, results, failures)
            return None, {}
        outcome = self._aggregate(server_round, results, failures)
        if not results and not outcome.failed:
            return None, {}
        parameters = None if outcome.model is None else write_parameters(outcome.model)
        function = self.fit_metrics_aggregation_fn
        own = aggregate_metrics(function, outcome.accepted, self.cap_examples) if function else {}
        return parameters, own | outcome.metrics

    def aggregate_evaluate(
        self, server_round: int, results: EvaluateResults, failures: EvaluateFailures
    ) -> tuple[float | None, Metrics]:
        """The median of the reported losses, and of each metric unless a function for metrics was given."""
        reports = self._reports(server_round, results, failures)
        if not reports or (failures and not self.accept_failures):
            return None, {}
        function = self.evaluate_metrics_aggregation_fn
        if function is None:
            metrics: Any = median_metrics([report.metrics for report in reports])
        else:
            metrics = aggregate_metrics(function, reports, self.cap_examples)
        return median_loss(losses(reports)), metrics


RobustFedAvg.__signature__ = full_signature(
    RobustFedAvg, FitOptions, FedAvg.__init__, RobustStrategy.__init__
)


class Plain(Declared, RobustFedAvg):
    """FedAvg with a rule without parameters: ``class Mean(Plain, rule=rules.Mean)``."""

    def __init__(self, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=self._kind(), **options)


class OfF(Declared, RobustFedAvg):
    """FedAvg with a rule whose only parameter is f or b: ``class Krum(OfF, rule=rules.Krum)``."""

    def __init__(self, *, num_malicious_clients: float = 0, **options: Unpack[FitOptions]) -> None:
        """`num_malicious_clients` is f, or b: a number, or a share of the replies such as 0.2, rounded up."""
        rule = rule_in_words(FIT_WORDS, self._kind, num_malicious_clients)
        super().__init__(rule=rule, **options)
