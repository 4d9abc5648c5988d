"""Which wrapper is for which kind of attack."""

from __future__ import annotations

from flwr.app import Context

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
    "MaliciousClient": (
        "an attack on the own update, or a `ModelAttack`",
        (LocalAttack, ModelAttack),
    ),
    "OmniscientClient": ("an attack by colluders", (ColludingAttack,)),
    "ColludingClient": ("an attack by colluders", (ColludingAttack,)),
    "CorruptedChannelClient": ("an attack of a channel", (ChannelAttack,)),
    "LabelFlippingClient": ("an attack on labels", (LabelFlip, RandomLabels)),
    "BackdoorClient": ("an attack on samples and labels", (Backdoor,)),
}

EXAMPLES = {
    "MaliciousClient": "SignFlip",
    "OmniscientClient": "LittleIsEnough",
    "ColludingClient": "LittleIsEnough",
    "CorruptedChannelClient": "BitFlip",
    "LabelFlippingClient": "LabelFlip",
    "BackdoorClient": "Backdoor",
}


def is_attack(value: object) -> bool:
    """Whether a value is an attack of this library."""
    return any(isinstance(value, kinds) for _, kinds in TAKES.values())


def check_context(context: object) -> None:
    """Raise unless a value is the context of a node, or None."""
    right = context is None or isinstance(context, Context)
    advice = "Pass the context that `client_fn` gets."
    require(right, "context", "the Context of the node", context, advice)


def check_kind(attack: object, wrapper: str, parameter: str = "attack") -> None:
    """Raise if an attack is for other wrappers, and name them."""
    expected, kinds = TAKES[wrapper]
    others = [name for name, (_, kind) in TAKES.items() if isinstance(attack, kind)]
    advice = f"Wrap the client in {' or '.join(others)} instead."
    holds = not others or isinstance(attack, kinds)
    require(holds, parameter, expected, attack, advice)
    advice = f"Pass an instance, as in `{EXAMPLES[wrapper]}()`, or a function of your own."
    require(can_attack(attack), parameter, expected, attack, advice)
