"""Weights that the operator gives clients, such as the sizes of hospitals, and never what clients claim."""

from collections.abc import Mapping, Sequence
from logging import WARNING

import numpy as np
import numpy.typing as npt
from flwr.common.logger import log

from flwr_byzantine.checks import is_number, wrong
from flwr_byzantine.rules.base import Rule

TrustedWeights = Mapping[str, float] | Mapping[int, float] | None

_ADVICE = "Pass node ids and positive numbers, such as `{4711: 2.0, 815: 1.0}`."


class Weights(dict[str, float]):
    """Weights by the server's own names of the clients.

    It remembers which unlisted clients the log has named, so that each is named once.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.named: set[str] = set()


def check_trusted(trusted: TrustedWeights, rule: Rule) -> Weights | None:
    """The weights by the server's own names of the clients.

    Raises
    ------
    ParameterError
        Unless they are positive numbers by client, and the rule averages whole updates.
    """
    if trusted is None:
        return None
    expected = "positive numbers by client"
    if not isinstance(trusted, Mapping) or not trusted:
        raise wrong("trusted_weights", expected, trusted, _ADVICE)
    for client, weight in trusted.items():
        named = isinstance(client, str | int | np.integer) and not isinstance(client, bool)
        counted = is_number(weight) and not isinstance(weight, bool) and weight > 0
        if not named or not counted:
            found = f"`{client!r}: {weight!r}`"
            raise wrong("trusted_weights", expected, trusted, _ADVICE, found=found)
    weights = Weights({str(client): float(weight) for client, weight in trusted.items()})
    if len(weights) < len(trusted):
        found = f"a client twice, as a number and as text, in `{trusted!r}`"
        raise wrong("trusted_weights", expected, trusted, _ADVICE, found=found)
    if not rule.averages:
        found, advice = f"weights for {rule}", "Leave them out, or take a rule such as `MultiKrum`."
        expected = "None for a rule that does not take the plain mean of some clients' updates"
        raise wrong("trusted_weights", expected, trusted, advice, found=found)
    return weights


def weights_of(trusted: Weights, clients: Sequence[str]) -> npt.NDArray[np.float64]:
    """The weight of each client, shape (n,).

    A client that is not listed has the smallest weight, and the log names it once.
    """
    unlisted = [c for c in clients if c not in trusted and c not in trusted.named]
    trusted.named.update(unlisted)
    least = min(trusted.values())
    if unlisted:
        text = "`trusted_weights` lists no weight for %s, which gets the smallest one, %s"
        log(WARNING, text, ", ".join(unlisted[:5]) + (", ..." if unlisted[5:] else ""), least)
    return np.array([trusted.get(client, least) for client in clients])
