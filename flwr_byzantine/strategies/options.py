"""Keywords of the strategies: their types, each API's words, and signatures that show them all."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, get_args

from flwr.app import MetricRecord, RecordDict
from flwr.common import MetricsAggregationFn, NDArrays, Parameters, Scalar

from flwr_byzantine.aggregation.buffers import Buffers
from flwr_byzantine.aggregation.names import NodeNames
from flwr_byzantine.aggregation.step_sizes import LearningRate
from flwr_byzantine.aggregation.trusted import TrustedWeights
from flwr_byzantine.aggregation.watch import OnSuspect
from flwr_byzantine.audit import Suspicion
from flwr_byzantine.checks import LETTERS, did_you_mean, in_words
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.preaggregation import Step
from flwr_byzantine.strategies.minimums import Minimum
from flwr_byzantine.strategies.words import (
    COUNTERPARTS,
    FIT_WORDS,
    MESSAGE_WORDS,
    TOLD,
)

R = TypeVar("R", bound=Rule)


class SharedOptions(TypedDict, total=False):
    """Keywords of this library, the same for the strategies and for ``RobustGrid``."""

    payload: str
    order_by: str | None
    on_too_few: str
    on_dropped: str
    bound: str
    count_failures: bool
    buffers: Buffers
    audit_log: str | os.PathLike[str] | None
    pre_aggregation: Step | None
    trusted_weights: TrustedWeights
    checkpoint: str | os.PathLike[str] | None
    cap_examples: bool
    suspicion: Suspicion | None
    on_suspect: OnSuspect
    quarantine: bool
    node_names: NodeNames


class RobustOptions(SharedOptions, total=False):
    """Keywords of the strategies, the same in both APIs."""

    learning_rate: LearningRate


class ReputationOptions(TypedDict, total=False):
    """Keywords of ByGARS and ByGARS++, the same in both APIs."""

    meta_learning_rate: LearningRate
    initial_reputation: float
    max_norm_ratio: float
    normalize: bool
    forget_after: int | None


class FitOptions(RobustOptions, total=False):
    """These keywords, and those of Flower's FedAvg of the ``aggregate_fit`` API."""

    fraction_fit: float
    fraction_evaluate: float
    min_fit_clients: int | None
    min_evaluate_clients: int
    min_available_clients: int | None
    evaluate_fn: (
        Callable[[int, NDArrays, dict[str, Scalar]], tuple[float, dict[str, Scalar]] | None] | None
    )
    on_fit_config_fn: Callable[[int], dict[str, Scalar]] | None
    on_evaluate_config_fn: Callable[[int], dict[str, Scalar]] | None
    accept_failures: bool
    initial_parameters: Parameters | None
    fit_metrics_aggregation_fn: MetricsAggregationFn | None
    evaluate_metrics_aggregation_fn: MetricsAggregationFn | None
    inplace: bool


class FitReputationOptions(ReputationOptions, FitOptions, total=False):
    """Keywords of ByGARS and ByGARS++ in the ``aggregate_fit`` API."""


class MessageOptions(RobustOptions, total=False):
    """These keywords, and those of Flower's FedAvg of the Message API."""

    fraction_train: float
    fraction_evaluate: float
    min_train_nodes: int | None
    min_evaluate_nodes: int
    min_available_nodes: int | None
    weighted_by_key: str
    arrayrecord_key: str
    configrecord_key: str
    train_metrics_aggr_fn: Callable[[list[RecordDict], str], MetricRecord] | None
    evaluate_metrics_aggr_fn: Callable[[list[RecordDict], str], MetricRecord] | None


class MessageReputationOptions(ReputationOptions, MessageOptions, total=False):
    """Keywords of ByGARS and ByGARS++ in the Message API."""


def rule_in_words(words: Mapping[str, str], make: Callable[..., R], *values: Any) -> R:
    """Build a rule from the arguments of a strategy. Errors name the strategy's parameter."""
    with in_words(words):
        return make(*values)


def refuse_other_words(strategy: type, given: Iterable[str]) -> None:
    """Raise TypeError for an unknown keyword. For one of the other API, the error names this API's.

    A keyword that neither API has is refused too, and the error names the most similar one. A user's
    subclass may pass on any keyword. So only the keywords of this library's own class count, and Flower
    refuses the others.
    """
    ours = next(kind for kind in strategy.__mro__ if is_ours(kind))
    known = inspect.signature(ours).parameters
    for name in given:
        word = COUNTERPARTS.get(name)
        if name not in known and word is not None and (word in known or "(" in word):
            raise TypeError(
                f"{strategy.__name__}() got an unexpected keyword argument {name!r}: "
                f"in this API of Flower its name is `{word}`."
            )
        field = LETTERS.get(name, name)
        words = {FIT_WORDS.get(field), MESSAGE_WORDS.get(field)} & {*known}
        if name not in known and words:
            raise TypeError(
                f"{strategy.__name__}() got an unexpected keyword argument {name!r}: "
                f"the strategy's name for it is `{words.pop()}`."
            )
        if name not in known and (name in TOLD or FIT_WORDS.get(field) in TOLD):
            instead = "pass it to the rule" if "rule" in known else "its rule takes no such number"
            raise TypeError(
                f"{strategy.__name__}() got an unexpected keyword argument {name!r}: {instead}."
            )
        if name not in known and ours is strategy:
            raise TypeError(
                f"{strategy.__name__}() got an unexpected keyword argument {name!r}. "
                + (did_you_mean(name, known) or f"Its keywords are {', '.join(known)}.").rstrip()
            )


def refuse_positional(strategy: type, given: Sequence[object]) -> None:
    """Raise TypeError for values without a name: this library's strategies take keywords only."""
    if given and is_ours(strategy.__init__):  # type: ignore[misc]
        told = [name for name in inspect.signature(strategy).parameters if name in TOLD]
        example = (
            f"{strategy.__name__}({told[0]}={given[0]!r})" if told else "fraction_evaluate=0.5"
        )
        raise TypeError(
            f"{strategy.__name__}() takes keywords only. Found {given[0]!r} without a name. "
            f"Write its name too, as in `{example}`."
        )


def is_ours(thing: Any) -> bool:
    """Whether a class or function belongs to this library. If ``exec`` made it, it may have no module."""
    return (thing.__module__ or "").startswith(f"{__package__}.")


def full_signature(
    strategy: type, options: type, *sources: Callable[..., Any]
) -> inspect.Signature:
    """The signature of a strategy, with every keyword in the place of its ``**options``.

    Parameters
    ----------
    strategy : type
        A strategy of this library, or a subclass. The subclass's own ``__init__`` is shown unchanged.
    options : type
        The TypedDict of the keywords for which ``**options`` stands, if its own type does not say it.
    *sources : Callable
        The functions that get the options. They hold the defaults.
    """
    init = strategy.__init__  # type: ignore[misc]
    _, *named = inspect.signature(init).parameters.values()
    ours = is_ours(init)
    if not ours or not named or named[-1].kind is not inspect.Parameter.VAR_KEYWORD:
        return inspect.Signature(named)
    stated = get_args(named[-1].annotation)
    bases = reversed(strategy.__mro__[1:-1])
    inherited = [vars(base)["__init__"] for base in bases if "__init__" in vars(base)]
    parameters = {
        parameter.name: parameter
        for source in (*sources, *inherited)
        for parameter in inspect.signature(source).parameters.values()
    }
    taken = {parameter.name for parameter in named}
    shown = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None
            if isinstance(getattr(strategy, name, None), Minimum)
            else parameters[name].default,
            annotation=annotation,
        )
        for name, annotation in inspect.get_annotations(stated[0] if stated else options).items()
        if name not in taken
    ]
    return inspect.Signature([*named[:-1], *shown])
