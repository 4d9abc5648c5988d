"""The attackers that the run configuration asks for. With them you can try which attacks a strategy survives.

The first ``attackers`` nodes misbehave as ``attack`` says. With ``attackers = 0`` every node is honest.
"""

from collections.abc import Callable

from flwr.app import Context
from flwr.client import NumPyClient

from flwr_byzantine.attacks import Constant, Gaussian, LocalAttack, SignFlip
from flwr_byzantine.clients import MaliciousClient

ATTACKS: dict[str, LocalAttack] = {
    "sign_flip": SignFlip(scale=20),  # -20 times the own update
    "gaussian": Gaussian(std=10),  # noise
    "constant": Constant(),  # the same number in every coordinate
}


def honest_or_not(
    make_honest: Callable[[int], NumPyClient], client_id: int, context: Context
) -> NumPyClient:
    """Return the client of this node."""
    config, honest = context.run_config, make_honest(client_id)
    if not config["attackers"]:
        return honest
    if config["attack"] not in ATTACKS:
        names = ", ".join(ATTACKS)
        raise ValueError(f"`attack` should be one of {names}. Found `attack = {config['attack']}`.")
    if client_id >= int(config["attackers"]):
        return honest
    return MaliciousClient(honest, ATTACKS[str(config["attack"])], client_id=client_id)
