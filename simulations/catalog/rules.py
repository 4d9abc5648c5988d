"""The rules by name, and what a run's configuration may say about them.

Flower's FedAvg, the rules of this package, and three that know more than the updates of a round: see
`simulations.catalog.bygars` and `simulations.catalog.baseline` for what they are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from flwr_byzantine import rules
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.settings import public_names
from flwr_byzantine.strategies.words import FIT_WORDS
from simulations.catalog.bygars import NAMES as BYGARS


class RuleSpec(NamedTuple):
    """A rule's class, under the same name among rules and strategies, and its parameter f or b.

    One with ``knows_more`` is no rule of its updates alone.
    """

    name: str
    tolerance: str | None
    knows_more: bool = False


def _name(strategy: str) -> str:
    """The name in a configuration: `multi_krum` for `MultiKrum`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", strategy).lower()


def _f_of(rule: type[rules.Rule]) -> str | None:
    """The parameter of a rule that is f, or b."""
    names = (field.name for field in fields(rule))
    return next((name for name in names if FIT_WORDS.get(name) == FIT_WORDS["trim"]), None)


# Every strategy that has the name of a rule, in the order in which they are declared.
_PURE = {
    name: getattr(rules, name)
    for name in public_names(vars(fit_strategies))
    if hasattr(rules, name)
}
RULES: dict[str, RuleSpec | None] = {
    "fedavg": None,  # Flower's own
    **{_name(name): RuleSpec(name, _f_of(rule)) for name, rule in _PURE.items()},
    **{name: RuleSpec(strategy, None, knows_more=True) for name, strategy in BYGARS.items()},
    "baseline": RuleSpec("RobustFedAvg", None, knows_more=True),  # benign clients only
}


def check_rule(
    name: str, rule_args: Mapping[str, Any], clients: int, assumed: int, payload: str
) -> None:
    """Raise ValueError unless the rule can work with that many clients."""
    spec = RULES[name]
    if spec is None:
        if payload == "gradients" or rule_args:
            raise ValueError(
                "Parameter `rule` should be `mean` rather than Flower's own `fedavg` for clients "
                f"that send gradients; and `fedavg` takes no arguments. Found `payload = {payload}`"
                f" and `rule_args = {dict(rule_args)}`."
            )
        return
    if spec.knows_more:
        return
    tolerated = {spec.tolerance: assumed} if spec.tolerance else {}
    try:
        rule = getattr(rules, spec.name)(**tolerated, **rule_args)
    except TypeError as error:
        raise ValueError(
            f"Parameter `rule_args` should hold arguments of {spec.name}. "
            f"Found `rule_args = {dict(rule_args)}`: {error}."
        ) from error
    if clients < rule.min_updates:
        raise ValueError(
            f"Parameter `clients` should be at least {rule.min_updates} for {name} with "
            f"`assumed_byzantine = {assumed}`. Found `clients = {clients}`: take more clients, "
            "or assume fewer of them Byzantine."
        )
