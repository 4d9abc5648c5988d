"""What kind of attack it is, and the rounds that it brings along."""

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
    """What an attack is given."""

    LOCAL = "own update"
    COLLUDING = "updates"
    MODEL = "model"
    CHANNEL = "values"

    @property
    def together(self) -> bool:
        """Whether all attackers are on in the same rounds, as those of the wrappers are."""
        return self is not Kind.LOCAL


SIGNATURES = {
    LocalAttack: Kind.LOCAL,
    ColludingAttack: Kind.COLLUDING,
    ModelAttack: Kind.MODEL,
    ChannelAttack: Kind.CHANNEL,
}
# How many arguments a function of the user's is called with.
ARGUMENTS = {2: Kind.LOCAL, 3: Kind.COLLUDING, 5: Kind.CHANNEL}


def is_attack(value: Any) -> bool:
    """Whether it is an attack of the library, and no function of the user's."""
    return isinstance(value, (*SIGNATURES, OnOff))


def understand(attack: Any, usage: str) -> tuple[Any, AttackSchedule, Kind]:
    """Return the attack itself, the rounds that it brings along, and its kind.

    Parameters
    ----------
    attack : Any
        What the user passed.
    usage : str
        How it should be passed, for the error.

    Raises
    ------
    ParameterError
        If it is no attack, or one on data.
    """
    advice = f"Make it first, as in `{usage}`."
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
            "one on what nodes send",
            attack,
            "It changes the data that a client trains on, and those never come to the server. Wrap the "
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
            "`attack(values, client, num_clients, server_round, seed)`. One that knows the model is a "
            "subclass of `flwr_byzantine.attacks.ModelAttack`.",
        )
    return kind
