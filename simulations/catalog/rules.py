"""The rules by name, and what a run's configuration may say about them.

Flower's FedAvg, the rules of this package, and three that know more than the updates of a round: see
`simulations.catalog.bygars` and `simulations.catalog.baseline` for what they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flwr_byzantine import rules


class RuleSpec(NamedTuple):
    """A rule's class, under the same name among rules and strategies, and its parameter f or b.

    One with ``knows_more`` is no rule of its updates alone.
    """

    name: str
    tolerance: str | None
    knows_more: bool = False


RULES: dict[str, RuleSpec | None] = {
    "fedavg": None,  # Flower's own
    "mean": RuleSpec("Mean", None),
    "median": RuleSpec("Median", None),
    "trimmed_mean": RuleSpec("TrimmedMean", "trim"),
    "phocas": RuleSpec("Phocas", "trim"),
    "krum": RuleSpec("Krum", "num_byzantine"),
    "multi_krum": RuleSpec("MultiKrum", "num_byzantine"),
    "bulyan": RuleSpec("Bulyan", "num_byzantine"),
    "multi_bulyan": RuleSpec("MultiBulyan", "num_byzantine"),
    "bygars": RuleSpec("ByGARS", None, knows_more=True),
    "bygars++": RuleSpec("ByGARSPlusPlus", None, knows_more=True),
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
