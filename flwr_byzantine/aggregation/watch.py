"""The watch over clients. It measures the replies of every round, and knows which clients are suspects."""

from collections.abc import Callable, Collection, Mapping, Sequence
from logging import DEBUG, ERROR, WARNING
from typing import Any

from flwr.common.logger import log

from flwr_byzantine.aggregation.gate import Gated, Model, Reply
from flwr_byzantine.aggregation.names import NodeNames, check_names, name_of, registered_names
from flwr_byzantine.aggregation.sizes import Origin, measures
from flwr_byzantine.audit.marks import Mark
from flwr_byzantine.audit.suspicion import Absence, Evidence, Judged, Suspects, Suspicion
from flwr_byzantine.checks import require, require_bool, wrong

OnSuspect = Callable[[int, str, Evidence], Any] | None

FAILED = "failed: "  # the beginning of a reason
QUARANTINED = "a suspect, left out for `quarantine=True`"


class Watch:
    """Measures the replies of every round, and knows which clients are suspects.

    Parameters
    ----------
    suspicion : Suspicion or None
        When a client is a suspect; None takes the defaults.
    on_suspect : Callable or None
        A function that is called when a client becomes a suspect, with the round, the client's id and the
        evidence. If it raises an error, the error is logged.
    quarantine : bool
        Whether suspects are left out of the aggregate.
    node_names : Mapping, str or None
        See :func:`flwr_byzantine.aggregation.names.check_names`.

    Raises
    ------
    ParameterError
        If a parameter has another kind of value.
    """

    def __init__(
        self,
        suspicion: Suspicion | None = None,
        on_suspect: OnSuspect = None,
        quarantine: bool = False,
        node_names: NodeNames = None,
    ) -> None:
        known = suspicion is None or isinstance(suspicion, Suspicion)
        advice = "Pass `Suspicion(factor=50, rounds=3, of=50)` of `flwr_byzantine`."
        require(known, "suspicion", "a `Suspicion`, or None", suspicion, advice)
        called = on_suspect is None or callable(on_suspect)
        advice = "Pass a function of the round, the client's id and the evidence."
        require(called, "on_suspect", "a function, or None", on_suspect, advice)
        require_bool("quarantine", quarantine)
        self.node_names = check_names(node_names)
        self.suspects = Suspects(suspicion or Suspicion())
        self.on_suspect = on_suspect
        self.quarantine = quarantine
        self.registered: dict[str, str] = {}
        self.led_to: Model | None = None  # the last result, if clients are given no model
        self._looked_up: set[str] = set()
        self._warned: frozenset[str] = frozenset()

    def begin(self) -> None:
        """Begin a run. The sizes of another run do not count in it, but suspects stay suspects."""
        self.suspects.largest.clear()

    def learn_names(self, grid: Any, clients: Collection[str]) -> None:
        """Ask Flower's grid for the names of clients, if some are new."""
        nodes = getattr(grid, "get_nodes", None)
        if nodes is None or self._looked_up >= {*clients}:
            return
        self._looked_up |= {*clients}
        try:
            self.registered |= registered_names(nodes())
        except Exception as error:  # a run can do without names
            log(DEBUG, "The names of nodes are not known: %s", error)

    def without_suspects(
        self, server_round: int, gated: Gated, most: int
    ) -> tuple[Gated, dict[str, str]]:
        """The replies for the rule, and client -> reason for at most this many clients in quarantine.

        If there are more suspects, those that became suspects first are left out. A suspect that only
        failed is not left out, because its other replies did not stand out.
        """
        there = [
            client
            for client, evidence in self.suspects.convicted.items()
            if client in gated.accepted and not evidence.is_of(FAILED)
        ]
        if not self.quarantine or not there:
            return gated, {}
        out = there[:most]
        if (left := frozenset(there[most:])) and left != self._warned:
            text = "Round %s: %s suspects take part, because `quarantine` leaves out at most f = %s: %s"
            log(WARNING, text, server_round, len(left), most, ", ".join(there[most:]))
        self._warned = left
        accepted = {c: tensors for c, tensors in gated.accepted.items() if c not in out}
        return Gated(gated.structure, accepted, gated.dropped), dict.fromkeys(out, QUARANTINED)

    def judge(
        self,
        server_round: int,
        replies: Sequence[Reply],
        gated: Gated,
        failed: Mapping[str, str],
        origin: Origin | None = None,
        f: int = 0,
        lower_by: int = 0,
    ) -> Judged:
        """Judge the clients of a round, and call ``on_suspect`` for new suspects.

        Parameters
        ----------
        server_round : int
            The round.
        replies : Sequence[Reply]
            All replies.
        gated : Gated
            The replies that can be measured, and why the others cannot.
        failed : Mapping[str, str]
            Client -> reason, for clients that sent no reply.
        origin : Origin or None
            The point from which updates are measured. None if nothing can be measured, or if too few replies
            came to say what is usual.
        f : int
            How many of the replies may come from attackers, according to the rule. If it is 0, the watch
            allows for less than a third.
        lower_by : int
            By how much f may be lowered, as for the rule. It is lowered only as far as necessary, and not if
            this number is above f. The usual sizes of such a round are not remembered, because attackers may
            have set them.
        """
        found: dict[str, Mark] = {}
        clients = list(gated.accepted)
        too_much = max(0, f - max(0, len(clients) - 1) // 2)
        lowered = min(lower_by, too_much) if lower_by <= f else 0
        f -= lowered
        if origin is not None and len(clients) > 2 * f:
            f_watched = f or (len(clients) - 1) // 3
            sizes = measures(gated, origin)
            found = self.suspects.judge(clients, sizes, f_watched, remember=not lowered)
        faults = {
            client: f"{FAILED}{reason}"
            for client, reason in failed.items()
            if not isinstance(reason, Absence)
        }
        enough = len(clients) + len(gated.dropped) > 2 * f
        if enough:  # otherwise most may be attackers, and malformed replies may be the honest ones
            faults |= {client: f"malformed: {reason}" for client, reason in gated.dropped.items()}
        everybody = len(gated.accepted) + len(gated.dropped) + len(failed)
        if 2 * len(faults) < everybody:  # otherwise the run has a fault, and not these clients
            found |= {client: Mark(None, reason) for client, reason in faults.items()}
        new = self.suspects.add(server_round, found)
        for client, evidence in new.items():
            self._tell(server_round, client, evidence)
        said = {reply.client: reply for reply in replies}
        names = {
            client: name
            for client in {*said, *failed}
            if (name := name_of(client, self.node_names, self.registered, said.get(client)))
        }
        return Judged(found, new, tuple(self.suspects.convicted), names)

    def _tell(self, server_round: int, client: str, evidence: Evidence) -> None:
        if self.on_suspect is None:
            return
        try:
            self.on_suspect(server_round, client, evidence)
        except Exception as error:  # a bug in the user's function
            text = "`on_suspect` failed in round %s for client %s: %s: %s"
            log(ERROR, text, server_round, client, type(error).__name__, error)

    def pardon(self, client: object) -> None:
        """Clear a suspect, and forget the evidence against it.

        Raises
        ------
        ParameterError
            If the client is no suspect.
        """
        name = str(client)
        if name not in self.suspects.convicted:
            shown = ", ".join(self.suspects.convicted) or "there is none"
            advice = "Pass one of `strategy.suspects`."
            raise wrong("client", f"the id of a suspect ({shown})", client, advice)
        self.suspects.pardon(name)
        log(WARNING, "Client %s is pardoned, and is no longer a suspect", name)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return self.suspects.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.suspects = Suspects.read(self.suspects.suspicion, state)
