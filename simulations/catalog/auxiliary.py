"""The arguments that a run may give ByGARS and FLTrust, with the papers' values as defaults.

For all of them ``rule_args`` may hold ``auxiliary_batch``: samples per auxiliary gradient, all of them by
default. For `fltrust` it may also hold ``server_steps`` and ``learning_rate``. By default they are the
clients' own, as in the paper. For `bygars` and `bygars++` it may hold the strategies' own arguments
(``meta_steps``, ``tolerance``, ``initial_reputation``, ``max_norm_ratio``, ``normalize``) and

- ``gamma``, ``gamma_power``, ``gamma_offset``: the model's step sizes, a
  :class:`flwr_byzantine.reputation.schedules.PowerDecay`; ``gamma`` is the learning rate by default;
- ``alpha``, ``alpha_power``, ``alpha_offset``: the same for the scores.

A power of 0 means a constant step size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.strategies import bygars, fltrust
from flwr_byzantine.strategies.bygars import ALPHA, ALPHA_PLUS_PLUS, GAMMA

STRATEGIES: dict[str, Any] = {
    "bygars": bygars.ByGARS,
    "bygars++": bygars.ByGARSPlusPlus,
    "fltrust": fltrust.FLTrust,
}
AUXILIARY_SIZE = 250  # samples, as in the paper

BATCH: dict[str, Any] = {"auxiliary_batch": None}
DEFAULTS: dict[str, Any] = {
    "gamma_power": GAMMA.power, "gamma_offset": GAMMA.offset, **BATCH,
    "initial_reputation": 0.0, "max_norm_ratio": 10.0, "normalize": True,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "bygars": {
        "alpha": ALPHA.initial, "alpha_power": ALPHA.power, "alpha_offset": ALPHA.offset,
        "meta_steps": 3, "tolerance": None,
    },
    "bygars++": {
        "alpha": ALPHA_PLUS_PLUS.initial, "alpha_power": ALPHA_PLUS_PLUS.power,
        "alpha_offset": ALPHA_PLUS_PLUS.offset,
    },
}  # fmt: skip


class _NoLoss:
    """Stands in for the auxiliary loss, which needs data, while arguments are checked."""

    def __call__(self, parameters: Any, server_round: int) -> Any:
        """Is never called."""

    loss = __call__


def check_auxiliary(
    rule: str,
    rule_args: Mapping[str, Any],
    learning_rate: float,
    local_steps: int,
    payload: Literal["parameters", "gradients"],
    auxiliary: int,
) -> None:
    """Raise ValueError if the strategy of a run cannot be built. This loads no data."""
    settings = auxiliary_settings(rule, rule_args, learning_rate, local_steps)
    batch = settings.pop("auxiliary_batch")
    STRATEGIES[rule](auxiliary=_NoLoss(), payload=payload, **settings)
    if auxiliary < max(1, batch or 0):
        raise ValueError(
            f"Parameter `auxiliary` should be at least {max(1, batch or 0)} for the rule "
            f"`{rule}`. Found `auxiliary = {auxiliary}`. Leave it out for the paper's 250."
        )


def auxiliary_settings(
    rule: str, rule_args: Mapping[str, Any], learning_rate: float, local_steps: int
) -> dict[str, Any]:
    """Return the arguments of the strategy, with defaults and step sizes filled in."""
    known = {"gamma": learning_rate, **DEFAULTS, **OWN.get(rule, {})}
    if rule == "fltrust":
        known = {"learning_rate": learning_rate, "server_steps": local_steps, **BATCH}
    if unknown := sorted(set(rule_args) - set(known)):
        raise ValueError(
            f"Parameter `rule_args` should be made of {', '.join(known)}. Found {unknown}. "
            f"The rule `{rule}` has no other arguments."
        )
    settings: dict[str, Any] = {**known, **rule_args}
    if rule == "fltrust":
        return settings
    schedules = {
        "learning_rate": _schedule(settings, "gamma"),
        "meta_learning_rate": _schedule(settings, "alpha"),
    }
    return settings | schedules


def _schedule(given: dict[str, Any], name: str) -> float | PowerDecay:
    """Take a schedule's three numbers out of the arguments."""
    initial, power, offset = (given.pop(name + suffix) for suffix in ("", "_power", "_offset"))
    return PowerDecay(initial, power, offset) if power else float(initial)
