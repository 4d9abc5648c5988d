"""The rules by name, and what a run's configuration may say about them.

Flower's FedAvg, the rules of this package, and those that know more than the updates of a round: see
`simulations.catalog.auxiliary` and `simulations.catalog.baseline` for what they are given, and
`simulations.catalog.compositions` for what may stand in front of a rule.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, NamedTuple

from flwr_byzantine import rules
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.settings import public_names
from flwr_byzantine.strategies.words import FIT_WORDS
from simulations.catalog.auxiliary import STRATEGIES


class RuleSpec(NamedTuple):
    """A rule's class, under the same name among rules and strategies, and its parameter f or b.

    One with ``knows_more`` is no rule of its updates alone.
    """

    name: str
    tolerance: str | None
    knows_more: bool = False


SHORT = {"MeaMed": "meamed"}  # what is not the name of the class, with _ between its words


def name_of(kind: str) -> str:
    """The name in a configuration: `multi_krum` for `MultiKrum`."""
    return SHORT.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()


def f_of(kind: type[Any]) -> str | None:
    """The parameter of a rule or pre-aggregation that is f, or b."""
    names = (field.name for field in fields(kind))
    return next((name for name in names if FIT_WORDS.get(name) == FIT_WORDS["trim"]), None)


# Every strategy that has the name of a rule, in the order in which they are declared.
_PURE = {
    name: getattr(rules, name)
    for name in public_names(vars(fit_strategies))
    if hasattr(rules, name)
}
RULES: dict[str, RuleSpec | None] = {
    "fedavg": None,  # Flower's own
    **{name_of(name): RuleSpec(name, f_of(rule)) for name, rule in _PURE.items()},
    **{name: RuleSpec(own.__name__, None, knows_more=True) for name, own in STRATEGIES.items()},
    "baseline": RuleSpec("RobustFedAvg", None, knows_more=True),  # benign clients only
}
