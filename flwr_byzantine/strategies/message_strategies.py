"""The strategies of Flower's Message API (``aggregate_train``)."""

from functools import partial
from typing import Any, Unpack

from flwr.serverapp.strategy.multikrum import select_multikrum

from flwr_byzantine import rules
from flwr_byzantine.reputation.auxiliary import AuxiliaryLoss
from flwr_byzantine.rules.coordinatewise import FlooredTrimmedMean
from flwr_byzantine.strategies import bygars, fltrust
from flwr_byzantine.strategies.message_fedavg import OfF, Plain
from flwr_byzantine.strategies.message_fedavg import RobustFedAvg as RobustFedAvg
from flwr_byzantine.strategies.message_wrapped import ByzantineRobust as ByzantineRobust
from flwr_byzantine.strategies.options import (
    MessageOptions,
    MessageReputationOptions,
    rule_in_words,
)
from flwr_byzantine.strategies.records import read_record as read_record
from flwr_byzantine.strategies.records import write_record as write_record
from flwr_byzantine.strategies.settings import Selected, Unused, keep_unused, public_names
from flwr_byzantine.strategies.words import MESSAGE_WORDS

_rule = partial(rule_in_words, MESSAGE_WORDS)


class Mean(Plain, rule=rules.Mean):
    """Unweighted mean of the nodes' models: :class:`flwr_byzantine.rules.Mean`."""


class Median(Plain, rule=rules.Median):
    """Coordinate-wise median: :class:`flwr_byzantine.rules.Median`."""


class FedMedian(Median):
    """:class:`Median`, under the name that it has in Flower."""


class FedTrimmedAvg(RobustFedAvg):
    """Trimmed mean of Flower's kind: it leaves out a share of the values at each end of a coordinate.

    `beta` is the share, rounded down to whole nodes. With fewer than 1 / beta replies the strategy trims
    nothing, and the log warns of it. :class:`TrimmedMean` takes a number, or a share that is rounded up.
    """

    def __init__(self, *, beta: float = 0.2, **options: Unpack[MessageOptions]) -> None:
        super().__init__(rule=_rule(FlooredTrimmedMean, beta), **options)


class TrimmedMean(OfF, rule=rules.TrimmedMean):
    """Coordinate-wise trimmed mean: :class:`flwr_byzantine.rules.TrimmedMean`.

    `num_malicious_nodes` is b: a number, or a share of the replies such as 0.2, rounded up.
    """


class Phocas(OfF, rule=rules.Phocas):
    """Mean of the values nearest the trimmed mean: :class:`flwr_byzantine.rules.Phocas`.

    `num_malicious_nodes` is b: a number, or a share of the replies such as 0.2, rounded up.
    """


class MeaMed(OfF, rule=rules.MeaMed):
    """Mean of the values nearest the median: :class:`flwr_byzantine.rules.MeaMed`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class Medoid(Plain, rule=rules.Medoid):
    """The model nearest all others: :class:`flwr_byzantine.rules.Medoid`."""


class MinimumDiameterAveraging(OfF, rule=rules.MinimumDiameterAveraging):
    """Mean of the n - f models nearest together: :class:`flwr_byzantine.rules.MinimumDiameterAveraging`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class CovarianceFilter(OfF, rule=rules.CovarianceFilter):
    """Mean with small weights along the largest variance: :class:`flwr_byzantine.rules.CovarianceFilter`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class DivideAndConquer(OfF, rule=rules.DivideAndConquer):
    """Mean of the models that are not far out: :class:`flwr_byzantine.rules.DivideAndConquer`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class SmallestMaximumEigenvalue(OfF, rule=rules.SmallestMaximumEigenvalue):
    """Mean of the models of least variance: :class:`flwr_byzantine.rules.SmallestMaximumEigenvalue`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """


class GeometricMedian(RobustFedAvg):
    """The model of least distance from all others: :class:`flwr_byzantine.rules.GeometricMedian`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up. With 0, the
    rule survives as many attackers as the replies allow. RFA is ``iterations=3, smoothing=0.1``, which
    are parameters of the rule.
    """

    def __init__(
        self,
        *,
        num_malicious_nodes: float = 0,
        iterations: int | None = None,
        smoothing: float | None = None,
        **options: Unpack[MessageOptions],
    ) -> None:
        rule = _rule(rules.GeometricMedian, num_malicious_nodes, iterations, smoothing)
        super().__init__(rule=rule, **options)


class Krum(OfF, rule=rules.Krum):
    """The model nearest its neighbours: :class:`flwr_byzantine.rules.Krum`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    """

    num_nodes_to_select = Selected(1)


class MultiKrum(RobustFedAvg):
    """Mean of the models nearest their neighbours: :class:`flwr_byzantine.rules.MultiKrum`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    `num_nodes_to_select` is m; None is n - f - 2. Flower's own default of 1
    is Krum.
    """

    def __init__(
        self,
        *,
        num_malicious_nodes: float = 0,
        num_nodes_to_select: int | None = None,
        **options: Unpack[MessageOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiKrum, num_malicious_nodes, num_nodes_to_select), **options
        )


class Bulyan(RobustFedAvg):
    """Bulyan over Krum: :class:`flwr_byzantine.rules.Bulyan`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    `selection_rule`, which Flower's Bulyan has, is accepted and has no effect.
    The selection is always Krum's.
    """

    selection_rule = Unused(select_multikrum)

    def __init__(
        self,
        *,
        num_malicious_nodes: float = 0,
        selection_rule: Any = None,
        **options: Unpack[MessageOptions],
    ) -> None:
        super().__init__(rule=_rule(rules.Bulyan, num_malicious_nodes), **options)
        keep_unused(self, {"selection_rule": selection_rule})


class MultiBulyan(RobustFedAvg):
    """Bulyan over Multi-Krum: :class:`flwr_byzantine.rules.MultiBulyan`.

    `num_malicious_nodes` is f: a number, or a share of the replies such as 0.2, rounded up.
    `num_nodes_to_select` is m; None is n - 2f - 2.
    """

    def __init__(
        self,
        *,
        num_malicious_nodes: float = 0,
        num_nodes_to_select: int | None = None,
        **options: Unpack[MessageOptions],
    ) -> None:
        super().__init__(
            rule=_rule(rules.MultiBulyan, num_malicious_nodes, num_nodes_to_select), **options
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
        **options: Unpack[MessageOptions],
    ) -> None:
        super().__init__(rule=_rule(rules.CenteredClipping, threshold, iterations), **options)


class ByGARS(bygars.ByGARS, RobustFedAvg):
    """Reputation scores from a small data set on the server: :class:`flwr_byzantine.ByGARS`."""

    def __init__(
        self,
        *,
        auxiliary: AuxiliaryLoss,
        meta_steps: int = 3,
        tolerance: float | None = None,
        **options: Unpack[MessageReputationOptions],
    ) -> None:
        super().__init__(auxiliary=auxiliary, meta_steps=meta_steps, tolerance=tolerance, **options)


class ByGARSPlusPlus(bygars.ByGARSPlusPlus, RobustFedAvg):
    """ByGARS with one auxiliary gradient a round: :class:`flwr_byzantine.ByGARSPlusPlus`."""

    def __init__(
        self, *, auxiliary: AuxiliaryLoss, **options: Unpack[MessageReputationOptions]
    ) -> None:
        super().__init__(auxiliary=auxiliary, **options)


class FLTrust(fltrust.FLTrust, RobustFedAvg):
    """Mean weighed by agreement with the server's own update: :class:`flwr_byzantine.FLTrust`."""

    def __init__(
        self, *, auxiliary: AuxiliaryLoss, server_steps: int = 1, **options: Unpack[MessageOptions]
    ) -> None:
        super().__init__(auxiliary=auxiliary, server_steps=server_steps, **options)


# A strategy is public if it is declared here, or imported `as` itself.
globals()["__all__"] = public_names(globals())
