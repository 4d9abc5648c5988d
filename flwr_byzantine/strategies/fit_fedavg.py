"""``RobustFedAvg`` of the ``aggregate_fit`` API: FedAvg with a rule in place of its average."""

from inspect import Signature
from typing import Any, ClassVar, Unpack

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
    bound : str
        What happens with fewer replies than the rule's theorem asks for. ``"keep"`` (default): the round is
        skipped. ``"warn"``: the rule runs all the same, as Flower's do, and every such round is warned of,
        for the rule promises nothing there.
    buffers : Collection[str | int], Callable[[str], bool] or None
        Tensors such as BatchNorm's running variance, which must not leave the range of what honest
        clients send: names, positions, or a function of the name. They are clamped to the interval from
        the (f + 1)-th smallest to the (f + 1)-th largest value, and no server optimiser moves them. None
        finds them by name (``running_mean``, ``running_var``), which only the Message API has: in this
        one, pass their positions in the model.
    pre_aggregation : flwr_byzantine.rules.PreAggregation or None
        What stands in front of the rule, such as ``NearestNeighborMixing(4)``, or several joined by ``>>``:
        ``pre_aggregation >> rule`` is what runs.
    trusted_weights : Mapping[str | int, float] or None
        Your own weights of the clients, by node id, for rules that average whole updates: hospitals of
        unequal size. Every client that the rule selects counts so much. One that is not listed has the
        smallest, and is warned of. Never pass numbers that clients claim.
    audit_log : str, Path or None
        A file to append to what became of every client's reply, one line of JSON each; read it with
        ``python -m flwr_byzantine audit FILE``. The newest are in ``strategy.audit`` in any case.
    suspicion : flwr_byzantine.audit.Suspicion or None
        When a client is a suspect. By default, ``Suspicion(factor=50, rounds=3, of=50)``, it is one whose
        update was more than 50 times as large as usual in 3 of its last 50 rounds. Values that are not
        finite, malformed replies and failures of its own count too. ``strategy.suspects`` holds them.
    on_suspect : Callable or None
        Called with the round, the client's id and the evidence when a client becomes a suspect. What it
        raises is logged.
    quarantine : bool
        Whether suspects are left out of the aggregate: at most f of them, and each is logged. The rule keeps
        its f where the other replies are enough for it; else f is lowered by no more than those left out.
        Take a conviction back with ``strategy.pardon(id)``.
    node_names : Mapping[str | int, str], str or None
        What people call clients: names by node id, or the key of a metric that clients report, which says
        what they claim. None takes the names that keys were registered with, or else the metric
        ``partition-id``. The log and the audit show them beside the ids.
    checkpoint : str, Path or None
        A file to keep the model, the round and the strategy's state in after every round, with the one
        before it beside it. Started again with the same file, clients and number of rounds, a run
        goes on where it was killed, and ends as if it had not been. Strategies around this one see
        nothing of it: give it to the outermost.
    min_fit_clients, min_available_clients : int or None
        How many clients are asked in a round, and how many have to be there. None is what the rule needs,
        and at least Flower's 2. A smaller number raises.
    count_failures : bool
        Whether clients that answer with an error or not at all count as Byzantine. False (default): they
        are none of f. True: where too few replies are left, the rule runs with a smaller f, lowered by no
        more than their number; a round in which more clients fail than f is skipped.
    cap_examples : bool
        Functions for metrics (``fit_metrics_aggregation_fn``, ``evaluate_metrics_aggregation_fn``) see the
        numbers of examples as clients sent them, so that one client that claims many outweighs all
        others. True cuts every number to the median of the positive ones, and leaves out clients
        whose number is not positive.
    **options
        Every other keyword argument of Flower's ``FedAvg``.

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

    min_fit_clients = Minimum()
    min_available_clients = Minimum()
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let signatures show all keywords."""
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
        """Median of the reported losses, and of each metric unless a function for them was given."""
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
    """FedAvg with a rule that is told nothing: ``class Mean(Plain, rule=rules.Mean)``."""

    def __init__(self, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=self._kind(), **options)


class OfF(Declared, RobustFedAvg):
    """FedAvg with a rule that is told f, or b, alone: ``class Krum(OfF, rule=rules.Krum)``."""

    def __init__(self, *, num_malicious_clients: float = 0, **options: Unpack[FitOptions]) -> None:
        """`num_malicious_clients` is f, or b: a number, or a share of the replies such as 0.2, rounded up."""
        rule = rule_in_words(FIT_WORDS, self._kind, num_malicious_clients)
        super().__init__(rule=rule, **options)
