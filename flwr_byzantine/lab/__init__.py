"""Attacks by code that sees all clients of a federation. Use them in simulations and tests only.

`AttackGrid` goes around the grid of any app of the Message API, and `AttackStrategy` around any strategy of
the ``aggregate_fit`` API. Do not use them on a server that anybody relies on. To let clients of a real
federation misbehave, use the wrappers and the mod of :mod:`flwr_byzantine.clients`.
"""

from flwr_byzantine.lab.attack_grid import AttackGrid
from flwr_byzantine.lab.attack_strategy import AttackStrategy
from flwr_byzantine.lab.in_process import InProcessGrid
from flwr_byzantine.lab.keeps import assert_keeps
from flwr_byzantine.lab.results import StressResult
from flwr_byzantine.lab.seen import AttackedRound
from flwr_byzantine.lab.stress_app import stress

__all__ = [
    "AttackGrid",
    "AttackStrategy",
    "AttackedRound",
    "InProcessGrid",
    "StressResult",
    "assert_keeps",
    "stress",
]
