"""The kind of an attack, and the rounds of its own schedule."""

from __future__ import annotations

from enum import Enum
from inspect import Parameter, signature
from typing import Any

from flwr_byzantine.attacks import ChannelAttack, ColludingAttack, LocalAttack, ModelAttack
from flwr_byzantine.attacks.schedule import AttackSchedule, OnOff, split
from flwr_byzantine.checks import require, wrong
from flwr_byzantine.clients.kinds import TAKES
from flwr_byzantine.rules.base import Rule

EXPECTED = "an attack of `flwr_byzantine.attacks`, or a function like one"


class Kind(Enum):
    """The arguments that an attack gets."""

    LOCAL = "own update"
    COLLUDING = "updates"
    MODEL = "model"
    CHANNEL = "values"

    @property
    def together(self) -> bool:
        """Whether all attackers attack in the same rounds, as with the wrappers."""
        return self is not Kind.LOCAL


SIGNATURES = {
    LocalAttack: Kind.LOCAL,
    ColludingAttack: Kind.COLLUDING,
    ModelAttack: Kind.MODEL,
    ChannelAttack: Kind.CHANNEL,
}
# The number of arguments with which a user's function is called.
ARGUMENTS = {2: Kind.LOCAL, 3: Kind.COLLUDING, 5: Kind.CHANNEL}


def is_attack(value: Any) -> bool:
    """Whether an attack is one of the library's, and not a user's function."""
    return isinstance(value, (*SIGNATURES, OnOff))


def understand(attack: Any, usage: str) -> tuple[Any, AttackSchedule, Kind]:
    """Return the attack itself, the rounds of its own schedule, and its kind.

    Parameters
    ----------
    attack : Any
        What the user passed.
    usage : str
        How the user should pass it, for the error.

    Raises
    ------
    ParameterError
        If it is no attack, or an attack on data.
    """
    advice = f"Pass an instance, as in `{usage}`."
    require(not isinstance(attack, type), "attack", EXPECTED, attack, advice)
    attack, spells = split(attack)
    for base, kind in SIGNATURES.items():
        if isinstance(attack, base):
            return attack, spells, kind
    poisoning = [name for name, (_, kinds) in TAKES.items() if isinstance(attack, kinds)]
    if poisoning or type(attack).__module__.startswith("flwr_byzantine.attacks."):
        client = " or ".join(poisoning) or "LabelFlippingClient"
        raise wrong(
            "attack",
            "an attack on what nodes send",
            attack,
            "This attack changes the data that a client trains on, and the server never sees them. Wrap the "
            f"client in `flwr_byzantine.clients.{client}`, or change the data where the app loads them.",
        )
    is_function = callable(attack) and not isinstance(attack, Rule)
    require(is_function, "attack", EXPECTED, attack, f"Write it as `{usage}`.")
    return attack, spells, _kind_by_arguments(attack)


def _kind_by_arguments(attack: Any) -> Kind:
    """Tell the functions of users apart."""
    try:
        parameters = list(signature(attack).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    named = [p for p in parameters if p.kind in plain]
    required = len([p for p in named if p.default is Parameter.empty])
    kind = ARGUMENTS.get(required, ARGUMENTS.get(len(named)))
    if kind is None:
        raise wrong(
            "attack",
            EXPECTED,
            attack,
            "Write it as `attack(own, rng)`, `attack(honest, num_attackers, rng)` or "
            "`attack(values, client, num_clients, server_round, seed)`. If it needs the model, derive it "
            "from `flwr_byzantine.attacks.ModelAttack`.",
        )
    return kind
