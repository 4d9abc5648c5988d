"""Settings that go together in a run of their own. Without them the run would not do what its user meant.

An experiment may have such settings: the same settings hold for its cells with an attack and without.
"""

from __future__ import annotations

from flwr_byzantine.attacks import ChannelAttack
from simulations.catalog.attacks import ATTACKS
from simulations.config import RunConfig

# Settings that only concern Byzantine clients.
OF_BYZANTINE = ("placement", "redraw", "partition_among")


def check_meant(config: RunConfig) -> None:
    """Raise ValueError if settings do nothing, or if nobody attacks, or if attackers have no attack.

    Channels hit all clients. A backdoor without attackers measures how often its trigger works without them.
    The rule ``baseline`` leaves Byzantine clients out.
    """
    attack, byzantine = config.attack, config.byzantine
    channels = [name for name, kind in ATTACKS.items() if issubclass(kind, ChannelAttack)]
    if attack not in ("none", "backdoor", *channels) and byzantine == 0:
        raise ValueError(
            f"Parameter `byzantine` should be at least 1 for `attack = {attack}`. Found "
            f"`byzantine = {byzantine}`, so nobody attacks. Add `byzantine = 1` or more, or leave out "
            "`attack`."
        )
    if attack == "none" and byzantine and config.rule != "baseline":
        raise ValueError(
            f"Parameter `attack` should name an attack for `byzantine = {byzantine}`. Found "
            "`attack = none`, so they behave well. Add `attack = gaussian` or another attack. To set only "
            f"the rule's f, give `assumed_byzantine = {byzantine}` in place of `byzantine`."
        )
    if config.local_epochs and config.local_steps > 1:
        raise ValueError(
            "Parameter `local_steps` should be left out with `local_epochs`, which replaces it. Found "
            f"`local_steps = {config.local_steps}` and `local_epochs = {config.local_epochs}`."
        )
    if attack == "none":
        _require_default(config, "attack_start", "without an attack", "Name an `attack`")
    if byzantine == 0:
        for name in OF_BYZANTINE:
            _require_default(config, name, "without Byzantine clients", "Set `byzantine`")


def _require_default(config: RunConfig, name: str, where: str, advice: str) -> None:
    """Raise ValueError unless a setting has its default, because nothing uses it."""
    value = getattr(config, name)
    if value != RunConfig.model_fields[name].default:
        raise ValueError(
            f"Parameter `{name}` should be left out {where}, because nothing uses it. Found "
            f"`{name} = {value}`. {advice}, or leave it out."
        )
