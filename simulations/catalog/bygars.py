"""The arguments that a run may give ByGARS, and what the paper says where it gives none.

For `bygars` and `bygars++`, ``rule_args`` may hold the strategies' own arguments (``meta_steps``,
``tolerance``, ``initial_reputation``, ``max_norm_ratio``, ``normalize``) and

- ``gamma``, ``gamma_power``, ``gamma_offset``: the model's step sizes, a
  :class:`flwr_byzantine.reputation.schedules.PowerDecay`; ``gamma`` is the learning rate by default;
- ``alpha``, ``alpha_power``, ``alpha_offset``: the same for the scores;
- ``auxiliary_batch``: samples per auxiliary gradient, all of them by default.

Powers of 0 stand for constant step sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss
from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.strategies import bygars
from flwr_byzantine.strategies.bygars import ALPHA, ALPHA_PLUS_PLUS, GAMMA

NAMES = {"bygars": "ByGARS", "bygars++": "ByGARSPlusPlus"}
AUXILIARY_SIZE = 250  # samples, as in the paper

DEFAULTS: dict[str, Any] = {
    "gamma_power": GAMMA.power, "gamma_offset": GAMMA.offset, "auxiliary_batch": None,
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


def check_bygars(
    rule: str,
    rule_args: Mapping[str, Any],
    learning_rate: float,
    payload: Literal["parameters", "gradients"],
    auxiliary: int,
) -> None:
    """Raise ValueError where the strategy of a run cannot be built; loads no data."""
    settings = bygars_settings(rule, rule_args, learning_rate)
    batch = settings.pop("auxiliary_batch")
    getattr(bygars, NAMES[rule])(auxiliary=TorchAuxiliaryLoss, payload=payload, **settings)
    if auxiliary < max(1, batch or 0):
        raise ValueError(
            f"Parameter `auxiliary` should be at least {max(1, batch or 0)} for the rule "
            f"`{rule}`. Found `auxiliary = {auxiliary}`. Leave it out for the paper's 250."
        )


def bygars_settings(
    rule: str, rule_args: Mapping[str, Any], learning_rate: float
) -> dict[str, Any]:
    """Return the arguments of the strategy, with defaults and step sizes filled in."""
    known = {"gamma": learning_rate, **DEFAULTS, **OWN[rule]}
    if unknown := sorted(set(rule_args) - set(known)):
        raise ValueError(
            f"Parameter `rule_args` should be made of {', '.join(known)}. Found {unknown}. "
            f"The rule `{rule}` has no other arguments."
        )
    settings: dict[str, Any] = {**known, **rule_args}
    schedules = {
        "learning_rate": _schedule(settings, "gamma"),
        "meta_learning_rate": _schedule(settings, "alpha"),
    }
    return settings | schedules


def _schedule(given: dict[str, Any], name: str) -> float | PowerDecay:
    """Take a schedule's three numbers out of the arguments."""
    initial, power, offset = (given.pop(name + suffix) for suffix in ("", "_power", "_offset"))
    return PowerDecay(initial, power, offset) if power else float(initial)
