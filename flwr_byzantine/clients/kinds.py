"""Which wrapper is for which kind of attack."""

from __future__ import annotations

from flwr_byzantine.attacks import (
    Backdoor,
    ChannelAttack,
    ColludingAttack,
    LabelFlip,
    LocalAttack,
    ModelAttack,
    RandomLabels,
)
from flwr_byzantine.attacks.base import require
from flwr_byzantine.attacks.schedule import can_attack

TAKES: dict[str, tuple[str, tuple[type, ...]]] = {
    "MaliciousClient": ("an attack of the own update or of the model", (LocalAttack, ModelAttack)),
    "OmniscientClient": ("an attack of updates that are known", (ColludingAttack,)),
    "ColludingClient": ("an attack of updates that are known", (ColludingAttack,)),
    "CorruptedChannelClient": ("an attack of the channel", (ChannelAttack,)),
    "LabelFlippingClient": ("an attack on labels", (LabelFlip, RandomLabels)),
    "BackdoorClient": ("an attack on samples and labels", (Backdoor,)),
}


def check_kind(attack: object, wrapper: str, parameter: str = "attack") -> None:
    """Raise if an attack is for other wrappers, and name them."""
    expected, kinds = TAKES[wrapper]
    others = [name for name, (_, kind) in TAKES.items() if isinstance(attack, kind)]
    advice = f"Wrap the client in {' or '.join(others)} instead."
    holds = not others or isinstance(attack, kinds)
    require(holds, parameter, expected, attack, advice)
    advice = "Pass an instance, as in `SignFlip()`, or a function of your own."
    require(can_attack(attack), parameter, expected, attack, advice)
