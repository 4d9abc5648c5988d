"""Flower clients for simulations: wrappers that misbehave, and the honest client they wrap.

The wrappers here wrap any ``NumPyClient``. The honest client, which needs PyTorch, is imported from
`clients.torch_client`.
"""

from .channel import CorruptedChannelClient
from .colluding import ColludingClient, OmniscientClient
from .malicious import LabelFlippingClient, LyingClient, MaliciousClient
from .mod import attack_mod
from .records import serve_both_apis
from .wrapper import ClientWrapper, Schedule

__all__ = [
    "ClientWrapper",
    "ColludingClient",
    "CorruptedChannelClient",
    "LabelFlippingClient",
    "LyingClient",
    "MaliciousClient",
    "OmniscientClient",
    "Schedule",
    "attack_mod",
    "serve_both_apis",
]
