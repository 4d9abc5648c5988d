"""The strategies of Flower's ``aggregate_fit`` API."""

from functools import partial
from typing import Any, Unpack

from flwr.server.strategy.aggregate import aggregate_krum

from flwr_byzantine import rules
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.rules.coordinatewise import FlooredTrimmedMean
from flwr_byzantine.strategies import bygars, fltrust
from flwr_byzantine.strategies.fit import read_parameters as read_parameters
from flwr_byzantine.strategies.fit import write_parameters as write_parameters
from flwr_byzantine.strategies.fit_fedavg import OfF, Plain
from flwr_byzantine.strategies.fit_fedavg import RobustFedAvg as RobustFedAvg
from flwr_byzantine.strategies.fit_wrapped import ByzantineRobust as ByzantineRobust
from flwr_byzantine.strategies.options import (
    FitOptions,
    FitReputationOptions,
    rule_in_words,
)
from flwr_byzantine.strategies.settings import Selected, Unused, keep_unused, public_names
from flwr_byzantine.strategies.words import FIT_WORDS

_rule = partial(rule_in_words, FIT_WORDS)


class Mean(Plain, rule=rules.Mean):
    """Unweighted mean of the clients' models: :class:`flwr_byzantine.rules.Mean`."""


class Median(Plain, rule=rules.Median):
    """Coordinate-wise median: :class:`flwr_byzantine.rules.Median`."""


class FedMedian(Median):
    """:class:`Median`, under the name that it has in Flower."""


class FedTrimmedAvg(RobustFedAvg):
    """Trimmed mean of Flower's kind: it leaves out a share of the values at each end of a coordinate.

    `beta` is the share, rounded down to whole clients. With fewer than 1 / beta replies the strategy trims
    nothing, and the log warns of it. :class:`TrimmedMean` takes a number, or a share that is rounded up.
    """

    def __init__(self, *, beta: float = 0.2, **options: Unpack[FitOptions]) -> None:
        super().__init__(rule=_rule(FlooredTrimmedMean, beta), **options)


class TrimmedMean(OfF, rule=rules.TrimmedMean):
    """Coordinate-wise trimmed mean: :class:`flwr_byzantine.rules.TrimmedMean`.

    `num_malicious_clients` is b: a number, or a share of the replies such as 0.2, rounded up.
    """


class Phocas(OfF, rule=rules.Phocas):
    """Mean of the values nearest the trimmed mean: :class:`flwr_byzantine.rules.Phocas`.

    `num_malicious_clients` is b: a number, or a share of the replies such as 0.2, rounded up.
    """


class MeaMed(OfF, rule=rules.MeaMed):
    """Mean of the values nearest the median: :class:`flwr_byzantine.rules.MeaMed`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class Medoid(Plain, rule=rules.Medoid):
    """The model nearest all others: :class:`flwr_byzantine.rules.Medoid`."""


class MinimumDiameterAveraging(OfF, rule=rules.MinimumDiameterAveraging):
    """Mean of the n - f models nearest together: :class:`flwr_byzantine.rules.MinimumDiameterAveraging`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class CovarianceFilter(OfF, rule=rules.CovarianceFilter):
    """Mean with small weights along the largest variance: :class:`flwr_byzantine.rules.CovarianceFilter`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class DivideAndConquer(OfF, rule=rules.DivideAndConquer):
    """Mean of the models that are not far out: :class:`flwr_byzantine.rules.DivideAndConquer`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class SmallestMaximumEigenvalue(OfF, rule=rules.SmallestMaximumEigenvalue):
    """Mean of the models of least variance: :class:`flwr_byzantine.rules.SmallestMaximumEigenvalue`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class GeometricMedian(RobustFedAvg):
    """The model of least distance from all others: :class:`flwr_byzantine.rules.GeometricMedian`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up. With 0, the
    rule survives as many attackers as the replies allow. RFA is ``iterations=3, smoothing=0.1``, which
    are parameters of the rule.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: float = 0,
        iterations: int | None = None,
        smoothing: float | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        rule = _rule(rules.GeometricMedian, num_malicious_clients, iterations, smoothing)
        super().__init__(rule=rule, **options)


class Krum(RobustFedAvg):
    """The model nearest its neighbours: :class:`flwr_byzantine.rules.Krum`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    As in Flower's Krum, `num_clients_to_keep` above 0 averages that many of the
    best models, which is Multi-Krum.
    """

    num_clients_to_keep = Selected(0)

    def __init__(
        self,
        *,
        num_malicious_clients: float = 0,
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

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    `num_clients_to_keep` is m; None is n - f - 2.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: float = 0,
        num_clients_to_keep: int | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiKrum, num_malicious_clients, num_clients_to_keep), **options
        )


class Bulyan(RobustFedAvg):
    """Bulyan over Krum: :class:`flwr_byzantine.rules.Bulyan`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    `first_aggregation_rule` and `to_keep`, which Flower's Bulyan has, are
    accepted and have no effect. The selection is always Krum's.
    """

    first_aggregation_rule = Unused(aggregate_krum)
    aggregation_rule_kwargs = Unused({})

    def __init__(
        self,
        *,
        num_malicious_clients: float = 0,
        first_aggregation_rule: Any = None,
        to_keep: Any = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(rule=_rule(rules.Bulyan, num_malicious_clients), **options)
        kwargs = {} if to_keep is None else {"to_keep": to_keep}
        given = {
            "first_aggregation_rule": first_aggregation_rule,
            "aggregation_rule_kwargs": kwargs,
        }
        keep_unused(self, given)


class MultiBulyan(RobustFedAvg):
    """Bulyan over Multi-Krum: :class:`flwr_byzantine.rules.MultiBulyan`.

    `num_malicious_clients` is f: a number, or a share of the replies such as 0.2, rounded up.
    `num_clients_to_keep` is m; None is n - 2f - 2.
    """

    def __init__(
        self,
        *,
        num_malicious_clients: float = 0,
        num_clients_to_keep: int | None = None,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiBulyan, num_malicious_clients, num_clients_to_keep), **options
        )


class CenteredClipping(RobustFedAvg):
    """Mean of updates clipped about the last result: :class:`flwr_byzantine.rules.CenteredClipping`.

    `threshold` is the length to which longer updates are clipped. `iterations` is how often the center moves.
    """

    def __init__(
        self,
        *,
        threshold: float = 10.0,
        iterations: int = 1,
        **options: Unpack[FitOptions],
    ) -> None:
        super().__init__(rule=_rule(rules.CenteredClipping, threshold, iterations), **options)


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


class FLTrust(fltrust.FLTrust, RobustFedAvg):
    """Mean weighed by how well updates agree with the server's own update, from a small data set.

    See :class:`flwr_byzantine.strategies.fltrust.FLTrust`.
    """

    def __init__(
        self, *, auxiliary: AuxiliaryLoss, server_steps: int = 1, **options: Unpack[FitOptions]
    ) -> None:
        super().__init__(auxiliary=auxiliary, server_steps=server_steps, **options)


# A strategy is public if it is declared here, or imported `as` itself.
globals()["__all__"] = public_names(globals())
