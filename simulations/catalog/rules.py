"""The rules by name, and what a run's configuration may say about them.

These are Flower's FedAvg, the rules of this package, and rules that know more than the updates of a round.
`simulations.catalog.auxiliary` and `simulations.catalog.baseline` say what the last kind is given.
`simulations.catalog.compositions` says what may stand in front of a rule.
"""

from __future__ import annotations

from typing import NamedTuple

from flwr_byzantine.lab.names import RULES as PURE
from flwr_byzantine.lab.names import f_of
from simulations.catalog.auxiliary import STRATEGIES


class RuleSpec(NamedTuple):
    """A rule's class, under the same name among rules and strategies, and its parameter f or b.

    ``knows_more`` says that the rule needs more than the updates of a round.
    """

    name: str
    tolerance: str | None
    knows_more: bool = False


RULES: dict[str, RuleSpec | None] = {
    "fedavg": None,  # Flower's own
    **{name: RuleSpec(rule.__name__, f_of(rule)) for name, rule in PURE.items()},
    **{name: RuleSpec(own.__name__, None, knows_more=True) for name, own in STRATEGIES.items()},
    "baseline": RuleSpec("RobustFedAvg", None, knows_more=True),  # benign clients only
}
