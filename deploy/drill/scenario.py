"""The nodes of a drill, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass

OFFENDERS = ("sign-flip", "gaussian", "malformed")


@dataclass(frozen=True)
class Scenario:
    """A drill.

    Parameters
    ----------
    roles : tuple of str
        The role of each node: ``"honest"``, or one of ``OFFENDERS``.
    assumed : int
        The f of the trimmed mean. It counts all offenders, because nobody knows which of them will be
        malformed. The trimmed mean needs 2 f + 1 well-formed replies. So at least 2 f + 1 nodes have to be
        left while some are down.
    rounds : int
        Rounds of training.
    terminated, killed, frozen : str or None
        The nodes that get SIGTERM, SIGKILL and SIGSTOP.
    accuracy : float
        The accuracy that the model has to reach.
    """

    roles: tuple[str, ...]
    assumed: int
    rounds: int
    terminated: str | None
    killed: str | None
    frozen: str | None
    accuracy: float

    @property
    def nodes(self) -> dict[str, str]:
        """Name of each node -> its role."""
        return {f"node-{i}": role for i, role in enumerate(self.roles)}

    def named(self, *roles: str) -> set[str]:
        """Names of the nodes with these roles."""
        return {name for name, role in self.nodes.items() if role in roles}


# While node-4 and node-5 are down, seven usable replies are left, two of them malicious. That is just enough.
FULL = Scenario(
    roles=(*OFFENDERS, *["honest"] * 7),
    assumed=3,
    rounds=14,
    terminated="node-3",
    killed="node-4",
    frozen="node-5",
    accuracy=0.9,
)
# While node-2 is down, five usable replies are left, one of them malicious. That is just enough.
SHORT = Scenario(
    roles=("sign-flip", "malformed", *["honest"] * 5),
    assumed=2,
    rounds=6,
    terminated="node-2",
    killed=None,
    frozen=None,
    accuracy=0.88,
)
SCENARIOS = {"full": FULL, "short": SHORT}
