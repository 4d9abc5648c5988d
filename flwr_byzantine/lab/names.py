"""Names of rules and attacks on the command line: `median`, `nnm+phocas`, `sign_flip`, `lie`."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import partial, reduce
from inspect import isabstract
from typing import Any

from flwr_byzantine import attacks, rules
from flwr_byzantine.attacks.optimized import FAMILIES
from flwr_byzantine.checks import did_you_mean, wrong
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.settings import public_names
from flwr_byzantine.strategies.words import FIT_WORDS

_WHOLE = {"MeaMed": "meamed"}  # class names whose capital letters do not begin words


def name_of(kind: str) -> str:
    """The name of a class on the command line.

    Examples
    --------
    >>> name_of("MultiKrum")
    'multi_krum'
    """
    return _WHOLE.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()


def f_of(kind: type[Any]) -> str | None:
    """The parameter of a rule or pre-aggregation that is f, or b."""
    names = (field.name for field in fields(kind))
    return next((name for name in names if FIT_WORDS.get(name) == FIT_WORDS["trim"]), None)


# Every rule that has a strategy of its name, in the order of declaration.
RULES: dict[str, type[rules.Rule]] = {
    name_of(name): getattr(rules, name)
    for name in public_names(vars(fit_strategies))
    if hasattr(rules, name)
}
# The pre-aggregations, by their full names and by the usual short names.
STEPS: dict[str, type[rules.PreAggregation]] = {
    name_of(name): kind
    for name, kind in vars(rules).items()
    if isinstance(kind, type) and issubclass(kind, rules.PreAggregation) and not isabstract(kind)
}
STEPS |= {"nnm": rules.NearestNeighborMixing, "arc": rules.AdaptiveClipping}
# Other names of rules. Most are short names from papers.
SHORT = {
    "caf": "covariance_filter",
    "cclip": "centered_clipping",
    "dnc": "divide_and_conquer",
    "gm": "geometric_median",
    "mda": "minimum_diameter_averaging",
    "mea_med": "meamed",
    "smea": "smallest_maximum_eigenvalue",
}

# Strategies that need data on the server. A name alone cannot bring these along.
WITH_DATA = ("by_gars", "bygars", "by_garsplus_plus", "bygars++", "fltrust")

_UPDATES = (
    attacks.LocalAttack, attacks.ColludingAttack, attacks.ModelAttack, attacks.ChannelAttack,
)  # fmt: skip
# The attacks on updates, by their usual short names if they have any.
_SHORT_ATTACKS = {
    "InnerProductManipulation": "ipm",
    "LittleIsEnough": "lie",
    "OneFarOneMean": "ofom",
    "PutAllFar": "paf",
}
_POISON = (attacks.Backdoor, attacks.LabelFlip, attacks.RandomLabels)
# Every attack that is a class, by its name.
BY_NAME: dict[str, type[Any]] = {
    _SHORT_ATTACKS.get(name) or name_of(name): kind
    for name in attacks.__all__
    if issubclass(kind := getattr(attacks, name), (*_UPDATES, *_POISON)) and not isabstract(kind)
}
ATTACKS = {
    name: kind
    for name, kind in BY_NAME.items()
    if issubclass(kind, _UPDATES) and kind is not attacks.Optimized
}
# The attacks on the data that nodes train on.
ON_DATA = {name: kind for name, kind in BY_NAME.items() if issubclass(kind, _POISON)}
MALICIOUS = "malicious"  # the attack of a user's own ClientApp
# Attacks that are computed against the rule in front of the app, or, without a rule, against the mean.
AGAINST = {f"opt_{family}": partial(attacks.Optimized, family) for family in FAMILIES}


def attack_named(name: str, num_clients: int, num_attackers: int, rule: rules.Rule) -> Any:
    """The attack with a name, for a given number of clients and attackers.

    ``sign_flip`` gets a factor that moves a plain mean backwards as far as the honest clients would move it
    forwards. With the factor 1 of the paper, few attackers would only slow a mean down.

    Parameters
    ----------
    name : str
        One of ``ATTACKS``, ``AGAINST`` or ``ON_DATA``.
    num_clients, num_attackers : int
        n and f.
    rule : Rule
        The rule in front of the app.

    Raises
    ------
    ValueError
        If there is no such attack, or if it does not work with these numbers.

    Examples
    --------
    >>> attack_named("ipm", 10, 2, rules.Mean())
    InnerProductManipulation(epsilon=0.1)
    >>> attack_named("sign_flip", 10, 2, rules.Mean())
    SignFlip(scale=8.0)
    """
    name = _SHORT_ATTACKS.get(name) or name_of(name.replace("-", "_"))
    if name in AGAINST:
        return AGAINST[name](against=rule)
    if name == MALICIOUS:
        advice = 'Pass `malicious="module:app"`, a ClientApp that the attackers run.'
        raise wrong("malicious", "given for the attack `malicious`", None, advice)
    if name in ON_DATA:
        return ON_DATA[name]()
    if name not in ATTACKS:
        known = ["none", *ATTACKS, *AGAINST, *ON_DATA]
        advice = did_you_mean(name, known) or "Choose from these names."
        raise wrong("attacks", f"chosen from {', '.join(known)}", name, advice.rstrip())
    if ATTACKS[name] is attacks.SignFlip:
        return attacks.SignFlip(max(1.0, 2 * (num_clients - num_attackers) / num_attackers))
    attack = ATTACKS[name]()
    if isinstance(attack, attacks.LittleIsEnough):
        attack.deviations(num_clients, num_attackers)
    return attack


def parts_of(name: str) -> tuple[list[str], str]:
    """The names of the pre-aggregations, and the name of the rule behind them. Names of classes count too.

    Examples
    --------
    >>> parts_of("bucketing+nnm+dnc")
    (['bucketing', 'nnm'], 'divide_and_conquer')
    >>> parts_of("NearestNeighborMixing+TrimmedMean")
    (['nearest_neighbor_mixing'], 'trimmed_mean')
    """
    *before, last = (name_of(part) for part in re.split(r"\s*\+\s*(?=\w)", name.replace("-", "_")))
    return before, SHORT.get(last, last)


def rule_named(name: str, f: int, arguments: Mapping[str, Mapping[str, Any]] = {}) -> rules.Rule:
    """The rule with a name. Those parameters of it that stand for Byzantine clients are set to f.

    Parameters
    ----------
    name : str
        Any number of pre-aggregations and a rule, joined by ``+``.
    f : int
        The number of Byzantine clients.
    arguments : Mapping[str, Mapping[str, Any]]
        The name of a part -> other arguments for it.

    Raises
    ------
    ValueError
        If there is no such rule, or if a part needs an argument that is not given.

    Examples
    --------
    >>> rule_named("nnm+phocas", 2)
    NearestNeighborMixing(num_byzantine=2) >> Phocas(trim=2)
    """
    before, last = parts_of(name)
    if last in WITH_DATA:
        advice = (
            "Its strategy takes them: `stress` runs it as a part of the app, with the rule `app`."
        )
        raise wrong("rules", "rules that need no data on the server", name, advice)
    if last not in RULES or not STEPS.keys() >= {*before}:
        expected = f"chosen from {', '.join(RULES)}, perhaps with {', '.join(STEPS)} in front"
        like = "" if last in RULES else did_you_mean(last, [*RULES, *SHORT])
        like += "".join(did_you_mean(part, STEPS) for part in before if part not in STEPS)
        advice = like or "Choose from these names, or join them by `+`, as in `nnm+phocas`."
        if last in STEPS:
            advice = "The rule comes last, as in `nnm+phocas`."
        raise wrong("rules", expected, name, advice.rstrip())
    kinds: list[type[Any]] = [*(STEPS[part] for part in before), RULES[last]]
    made = []
    for part, kind in zip([*before, last], kinds, strict=True):
        told = {parameter: f} if (parameter := f_of(kind)) else {}
        try:
            made.append(kind(**told, **arguments.get(part, {})))
        except TypeError as error:
            advice = f"`{part}` needs more than a name: use it from Python."
            raise wrong("rules", "rules that need no arguments but f", name, advice) from error
    rule: rules.Rule = reduce(operator.rshift, made)
    return rule
