"""The attacks by name, and what a run's configuration may say about them.

Besides the parameters of the attack, ``attack_args`` may hold

- ``fraction``: the share of the rounds, from ``attack_start`` on, in which the attack is on. (The attack
  ``backdoor`` has its own ``fraction``, which is the share of the samples. An attack's own parameters take
  precedence.)
- ``period`` and ``off``: from ``attack_start`` on, the attackers behave well for ``off`` rounds (by default
  ``period``), then attack for ``period`` rounds, and so on. Without ``period`` they never stop. This is
  `OnOff`. (``poisoned_fl`` has its own ``period``.)
- ``boost``, for poisoned data: the factor of the update, or ``true`` for n / f, which is model replacement.
- ``knows``, for attacks that use updates of others: ``honest`` gives all honest updates, and ``attackers``
  gives those that the attackers compute themselves.

``opt_lie`` and ``opt_ipm`` are ``optimized`` with that attack. Their rule is that of the run. Another rule is
written with its f, as ``against=krum:4``. The bits of ``bit_flip`` are written as ``bits=22:30:31:32``.
Channels (``bit_flip``, ``gambler``) corrupt what every client sends, however many are Byzantine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from flwr_byzantine.attacks import (
    Backdoor,
    ColludingAttack,
    Constant,
    Gaussian,
    LabelFlip,
    LittleIsEnough,
    LocalAttack,
    OnOff,
    Optimized,
    RandomLabels,
    RandomSignFlip,
    Remembering,
    SignFlip,
)
from flwr_byzantine.attacks.base import require, require_finite
from flwr_byzantine.checks import did_you_mean
from flwr_byzantine.clients import AttackSchedule as Schedule
from flwr_byzantine.lab.names import AGAINST, BY_NAME
from flwr_byzantine.rules import Rule
from simulations.catalog.compositions import rule_of

POISON = (LabelFlip, RandomLabels, Backdoor)
KNOWS = ("honest", "attackers")


@dataclass(frozen=True)
class Mixed:
    """A different local or data-poisoning attack for each Byzantine client: those of `MIXED`.

    Clients get them in ascending order. The eighth client gets the first attack again. With 7 attackers among
    8 clients this is the mixed attack of Regatti, Chen, Gupta (2020), "ByGARS: Byzantine SGD with arbitrary
    number of attackers", section 5, which does not name the attacks.
    """


@dataclass(frozen=True)
class Lying:
    """An absurd number of examples, with an honest update or with that of a local attack."""

    num_examples: int = 10**12
    update: str = "honest"

    def __post_init__(self) -> None:
        local = [name for name, kind in ATTACKS.items() if issubclass(kind, LocalAttack)]
        expected = f"one of honest, {', '.join(local)}"
        require(self.update in ("honest", *local), "update", expected, self.update, "Choose one.")


MIXED = (
    Gaussian(),
    SignFlip(),
    RandomSignFlip(),
    Constant(),
    LabelFlip(),
    SignFlip(scale=4),
    SignFlip(scale=100),
)

ATTACKS: dict[str, type[Any]] = {**BY_NAME, "mixed": Mixed, "lying": Lying}
ATTACK_NAMES = ("none", *ATTACKS, *AGAINST)


@dataclass(frozen=True)
class Plan:
    """An attack, the rounds in which it is on, and what colluding attackers know."""

    attack: Any
    fraction: float = 1.0
    knows: str = KNOWS[0]
    period: int | None = None
    off: int | None = None
    boost: float | bool = 1.0

    def __post_init__(self) -> None:
        self.schedule()
        require_finite("boost", float(self.boost) if isinstance(self.boost, bool) else self.boost)
        known = f"one of {', '.join(KNOWS)}"
        require(self.knows in KNOWS, "knows", known, self.knows, "Say whose updates they get.")

    def schedule(self, start: int = 1) -> Schedule:
        """Return the rounds in which it is on, from a first round on."""
        if self.period is None and self.off is None:
            return Schedule(start, self.fraction)
        spells = OnOff(SignFlip(), self.period, self.off).schedule  # the same for all attacks
        return replace(spells, start_round=spells.start_round + start - 1, fraction=self.fraction)

    @property
    def remembers(self) -> bool:
        """Whether the attack depends on earlier rounds."""
        attack = self.attack
        kind = ATTACKS.get(attack.update) if isinstance(attack, Lying) else type(attack)
        return kind is not None and issubclass(kind, Remembering)


def plan_attack(name: str, arguments: Mapping[str, Any]) -> Plan:
    """Return the attack of this name with these arguments.

    Raises
    ------
    ValueError
        If there is no such attack or argument, or if an argument is out of bounds.

    Examples
    --------
    >>> plan_attack("ipm", {"epsilon": 0.5, "fraction": 0.25}).attack
    InnerProductManipulation(epsilon=0.5)
    """
    names = f"one of {', '.join(ATTACK_NAMES)}"
    require(name in ATTACK_NAMES[1:], "attack", names, name, "Choose one of them.")
    preset = {"attack": AGAINST[name].args[0]} if name in AGAINST else {}
    kind = Optimized if preset else ATTACKS[name]
    own = {field.name for field in fields(kind) if field.init} - {*preset}
    shared = {"fraction", "period", "off"}
    if issubclass(kind, ColludingAttack):
        shared.add("knows")
    if issubclass(kind, POISON):
        shared.add("boost")
    shared -= own
    for argument in arguments:
        allowed = f"made of {', '.join(sorted(own | shared))}"
        advice = did_you_mean(argument, own | shared).rstrip()
        advice = advice or f"The attack `{name}` has no other arguments."
        require(argument in own | shared, "attack_args", allowed, argument, advice)
    hints = get_type_hints(kind)
    values = {key: _typed(value, hints[key]) for key, value in arguments.items() if key in own}
    others = get_type_hints(Plan)
    asked = {key: _typed(arguments[key], others[key]) for key in shared & set(arguments)}
    return Plan(kind(**values, **preset), **asked)


def _typed(value: Any, hint: Any) -> Any:
    """Convert a value from the command line to the type that an attack needs.

    Whole numbers may be written as ``1e12``, and several numbers as ``22:30:31:32``. A rule with f = 4 is
    written as ``krum:4``.
    """
    several = any(get_origin(kind) is tuple for kind in get_args(hint))
    if (several and ":" in str(value)) or (
        hint == tuple[int, ...] and isinstance(value, int | str)
    ):
        parts = str(value).split(":")
        return tuple(int(part) if part.isdecimal() else part for part in parts)
    if hint == Rule | None and isinstance(value, str):
        name, _, assumed = value.partition(":")
        advice = "Write `krum:4` or `nnm+phocas:4`, with f behind the colon."
        require(assumed.isdecimal() or not assumed, "against", "a rule and f", value, advice)
        return rule_of(name, {}, int(assumed or 0))
    if hint in (int, int | None) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def check_attack(
    name: str, arguments: Mapping[str, Any], clients: int, byzantine: int, redraw: bool = False
) -> None:
    """Raise a ValueError if the attack of a run can never work."""
    if name == "none":
        require(
            not arguments, "attack_args", "empty without an attack", arguments, "Name an attack."
        )
        return
    plan = plan_attack(name, arguments)
    expected = "False for attackers with a memory"
    advice = "Attackers that are drawn in a later round have no memory of the earlier ones."
    require(not (plan.remembers and redraw), "redraw", expected, redraw, advice)
    if not isinstance(plan.attack, ColludingAttack) or byzantine == 0:
        return
    bound = f"less than `clients = {clients}`"
    advice = "Leave at least one client honest, or pass `knows=attackers`."
    known = byzantine < clients or plan.knows == "attackers"
    require(known, "byzantine", bound, byzantine, advice)
    if isinstance(plan.attack, LittleIsEnough):
        n = clients if plan.attack.num_clients is None else plan.attack.num_clients
        plan.attack.deviations(n, byzantine)


def check_momentum(
    momentum: float, name: str, arguments: Mapping[str, Any], start: int, changing: bool
) -> None:
    """Raise a ValueError if attackers would have to know a momentum that they could not follow."""
    if name == "none":
        return
    plan = plan_attack(name, arguments)
    if isinstance(plan.attack, ColludingAttack):
        always = plan.schedule(start).always and not changing
        expected = (
            "0 for attackers that know others, unless all answer and the same clients always attack"
        )
        advice = "They follow the momentum of the others from round 1 on."
        require(always, "momentum", expected, momentum, advice)
