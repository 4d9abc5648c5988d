"""Programs for machines of their own: honest and malicious nodes that train on digits.

- `clients.app`: a ``ClientApp``, which SuperNodes run; a node's configuration says what it is.
- ``python -m clients``: one client for a server that was started with ``start_server``.

The wrappers that misbehave are in `flwr_byzantine.clients`; their names can be imported from here too.
"""

from flwr_byzantine.clients import (
    AttackSchedule,
    ClientWrapper,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
    attack_mod,
    serve_both_apis,
)

Schedule = AttackSchedule

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
