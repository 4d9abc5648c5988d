"""Flower clients that misbehave, for simulations and drills: wrappers around any ``NumPyClient``, and a mod.

`MomentumClient` and `momentum_mod` are for honest clients, whose updates then change less from round to
round. `attack_mod` is for apps of the Message API without a ``NumPyClient``. `serve_both_apis` lets one app
of NumPyClients answer servers of both APIs. This package loads neither torch nor Ray.
"""

from flwr_byzantine.attacks.schedule import AttackSchedule
from flwr_byzantine.clients.both_apis import serve_both_apis
from flwr_byzantine.clients.channel import CorruptedChannelClient
from flwr_byzantine.clients.colluding import ColludingClient, OmniscientClient
from flwr_byzantine.clients.malicious import LyingClient, MaliciousClient
from flwr_byzantine.clients.mod import attack_mod
from flwr_byzantine.clients.momentum import MomentumClient, momentum_mod
from flwr_byzantine.clients.poisoned import BackdoorClient, LabelFlippingClient
from flwr_byzantine.clients.wrapper import ClientWrapper

__all__ = [
    "AttackSchedule",
    "BackdoorClient",
    "ClientWrapper",
    "ColludingClient",
    "CorruptedChannelClient",
    "LabelFlippingClient",
    "LyingClient",
    "MaliciousClient",
    "MomentumClient",
    "OmniscientClient",
    "attack_mod",
    "momentum_mod",
    "serve_both_apis",
]
