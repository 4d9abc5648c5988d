"""Strategies that do not work with a rule. Some are refused, and the log warns of others."""

import inspect
from collections.abc import Iterator
from logging import WARNING
from typing import Any

from flwr.common.logger import log
from flwr.server import strategy as fit
from flwr.serverapp import strategy as message

from flwr_byzantine.checks import ParameterError, wrong

_TREES = "Its clients send decision trees, which have no coordinates that a rule could mix."
_SELECTS = "It selects among the clients' replies, but behind a rule all replies are the same."
_RAW = "Its clients send raw bytes, but replies have to be .npy files."
REFUSED: dict[type, str] = {
    fit.FedXgbBagging: f"{_TREES} Run it without a rule.",
    fit.FedXgbCyclic: f"{_TREES} Run it without a rule.",
    fit.FedXgbNnAvg: f"{_TREES} Run it without a rule.",
    message.FedXgbBagging: f"{_TREES} Run it without a rule.",
    message.FedXgbCyclic: f"{_TREES} Run it without a rule.",
    fit.Bulyan: f"{_SELECTS} Use `flwr_byzantine.Bulyan` alone.",
    message.Bulyan: f"{_SELECTS} Use `flwr_byzantine.serverapp.Bulyan` alone.",
    fit.FedAvgAndroid: f"{_RAW} Let the clients send NumPy arrays, and use `FedAvg`.",
}
ADDS_NOISE = (
    fit.DPFedAvgFixed,
    fit.DifferentialPrivacyClientSideAdaptiveClipping,
    fit.DifferentialPrivacyClientSideFixedClipping,
    fit.DifferentialPrivacyServerSideAdaptiveClipping,
    fit.DifferentialPrivacyServerSideFixedClipping,
    message.DifferentialPrivacyClientSideAdaptiveClipping,
    message.DifferentialPrivacyClientSideFixedClipping,
    message.DifferentialPrivacyServerSideAdaptiveClipping,
    message.DifferentialPrivacyServerSideFixedClipping,
)


def no_strategy(found: Any, home: str, advice: str) -> ParameterError:
    """The error for something that is no strategy of an API. ``home`` is the API's module."""
    if isinstance(found, type):
        advice = f"Pass a strategy, not its class: `{found.__name__}()`."
    elif hasattr(found, "min_updates"):
        advice = f"The strategy comes first: `ByzantineRobust(FedAvg(), rule={found!r})`."
    return wrong("strategy", f"a strategy of `{home}`", found, advice)


def inside(strategy: Any) -> Iterator[Any]:
    """A strategy, and those that it wraps."""
    seen: list[Any] = []
    while isinstance(strategy, fit.Strategy | message.Strategy) and strategy not in seen:
        seen.append(strategy)
        yield strategy
        strategy = getattr(strategy, "strategy", None)


def check_wrapped(strategy: Any) -> None:
    """Refuse a strategy that does not work behind a rule, and warn of differential privacy.

    Raises
    ------
    ParameterError
        If a strategy is refused. The error names the parameter `strategy` and the reason.
    """
    for part in inside(strategy):
        for kind, why in REFUSED.items():
            if isinstance(part, kind):
                raise wrong("strategy", "one that averages replies", strategy, why)
        check_noise(part)


def check_noise(part: Any) -> None:
    """Refuse a strategy that reports a privacy budget, and warn of any other strategy that adds noise."""
    name = type(part).__name__
    if getattr(part, "accountant", None) is not None:
        raise wrong(
            "strategy",
            "one without an accountant",
            part,
            "It reports the privacy budget of an average, and a robust rule spends more than that. Leave "
            "`accountant` out, or leave the rule out.",
        )
    if isinstance(part, ADDS_NOISE) or hasattr(part, "noise_multiplier"):
        text = (
            "%s adds noise for an average of the replies. One reply can move a robust rule further than an "
            "average, and the noise is too small for that. Do not report a privacy budget of this run"
        )
        log(WARNING, text, name)


def check_around(strategy: Any) -> None:
    """Refuse secure aggregation, and look at the strategy that calls this one: see :func:`check_noise`.

    Raises
    ------
    ValueError
        If the server sees only the sum of the replies, or if the strategy reports the budget of an average.
    """
    host = next(callers(strategy), None)
    if any(kind.__name__ == "SecAggPlusWorkflow" for kind in type(host).__mro__):
        raise ValueError(
            f"{type(strategy).__name__} should see the reply of every client. Found secure aggregation, "
            f"`{type(host).__name__}`, which shows the server only their sum. Leave `fit_workflow` out of "
            "`DefaultWorkflow`, or use `FedAvg`."
        )
    if isinstance(host, fit.Strategy | message.Strategy):
        check_noise(host)


def callers(ours: Any) -> Iterator[Any]:
    """The objects whose methods led to this call, the nearest first. They are read from the call stack."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self", ours)
        if caller is not ours:
            yield caller
        frame = frame.f_back
