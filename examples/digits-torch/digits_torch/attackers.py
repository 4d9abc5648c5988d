"""The attackers that the run configuration asks for. With them you can try which attacks a strategy survives.

The first ``attackers`` nodes misbehave as ``attack`` says. With ``attackers = 0`` every node is honest.
"""

from collections.abc import Mapping

from flwr.client import NumPyClient
from flwr.common import Scalar

from flwr_byzantine.attacks import Constant, Gaussian, LocalAttack, SignFlip
from flwr_byzantine.clients import MaliciousClient

ATTACKS: dict[str, LocalAttack] = {
    "sign_flip": SignFlip(scale=20),  # -20 times the own update
    "gaussian": Gaussian(std=10),  # noise
    "constant": Constant(),  # the same number in every coordinate
}


def honest_or_not(honest: NumPyClient, client_id: int, config: Mapping[str, Scalar]) -> NumPyClient:
    """Return the client of this node."""
    if not config["attackers"]:
        return honest
    if config["attack"] not in ATTACKS:
        names = ", ".join(ATTACKS)
        raise ValueError(f"`attack` should be one of {names}. Found `attack = {config['attack']}`.")
    if client_id >= int(config["attackers"]):
        return honest
    return MaliciousClient(honest, ATTACKS[str(config["attack"])], client_id=client_id)
