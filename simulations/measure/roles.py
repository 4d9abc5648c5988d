"""What each client of a run really is: benign, or which attack it commits."""

from __future__ import annotations

from typing import Any

from simulations.catalog.attacks import MIXED, Mixed, plan_attack
from simulations.config import RunConfig


def roles(config: RunConfig) -> list[Any]:
    """Return the attack that each client of a run commits, or None for a benign one."""
    found: list[Any] = [None] * config.clients
    if config.attack == "none" or config.redraw:
        return found
    attack = plan_attack(config.attack, config.attack_args).attack
    for rank, client in enumerate(sorted(config.who.byzantine_in(1))):
        found[client] = MIXED[rank % len(MIXED)] if isinstance(attack, Mixed) else attack
    return found


def kinds(config: RunConfig) -> list[str]:
    """Name what each client of a run is: benign, or the attack it commits.

    Examples
    --------
    >>> kinds(RunConfig(rule="mean", attack="sign_flip", clients=3, byzantine=1))
    ['SignFlip(scale=1.0)', 'benign', 'benign']
    """
    return ["benign" if role is None else repr(role) for role in roles(config)]
