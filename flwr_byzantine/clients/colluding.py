"""Attackers that know what other clients send, because they compute it themselves.

The server does not help them. They can build the clients that they know about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable

import numpy as np
from flwr.app import Context
from flwr.client import NumPyClient

from flwr_byzantine.attacks.base import Floats, require, require_whole
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.clients.arrays import Arrays, Payload, copies, with_update
from flwr_byzantine.clients.kinds import check_kind
from flwr_byzantine.clients.memory import Memories, RememberingClient, digest, recalling, remembered
from flwr_byzantine.clients.recompute import ROUNDS, fingerprint, recompute
from flwr_byzantine.clients.wrapper import (
    ATTACK_STREAM,
    Config,
    FitReply,
    stream_of,
)

Collusion = Callable[[Floats, int, np.random.Generator], Floats]


class ColludingClient(RememberingClient):
    """An attacker that knows only the updates of the attackers.

    It recomputes the updates that all attackers, itself included, would send if they were honest.
    The attack gets these updates. Several attackers in one process share one recomputation in each
    round.

    Parameters
    ----------
    client : NumPyClient
        The client that it would be if it were honest. It gives the number of examples, the metrics and
        the integer tensors of the answer.
    attack : callable
        A colluding attack, ``attack(known, num_attackers, rng)``: one of `flwr_byzantine.attacks`
        or your own. `LittleIsEnough` has to be told ``num_clients`` here.
    make_honest : callable
        Builds an honest client from its number.
    attackers : collection of int
        The numbers of all attackers. Sorted by their numbers, they send the rows of the attack.
    client_id : int
        The number of this client; one of the attackers.
    seed, schedule
        See `ClientWrapper`. Attackers with the same seed are on in the same rounds.
    payload : {"parameters", "gradients"}
        What the clients return from ``fit``.
    scope : hashable, optional
        Attackers with the same value share the recomputation, so give the attackers of each
        simulation a value of their own. By default it is ``make_honest`` itself, which is right if
        the same function builds all attackers.
    context : Context, optional
        See `MaliciousClient`. Attackers with the same memories share the recomputation, and have
        the same memories after it.
    """

    together = True

    def __init__(
        self,
        client: NumPyClient,
        attack: Collusion,
        make_honest: Callable[[int], NumPyClient],
        attackers: Collection[int],
        *,
        client_id: int,
        seed: int = 0,
        payload: Payload = "parameters",
        schedule: AttackSchedule = ALWAYS,
        scope: Hashable = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(
            client,
            attack,
            client_id=client_id,
            seed=seed,
            payload=payload,
            schedule=schedule,
            context=context,
        )
        check_kind(self.attack, "ColludingClient")
        advice = "Pass a function that builds an honest client from its number."
        require(callable(make_honest), "make_honest", "a function", make_honest, advice)
        self.make_honest = make_honest
        self.attackers = _numbers("attackers", attackers)
        self.known = self.attackers
        self.scope = make_honest if scope is None else scope
        advice = "An attacker counts itself."
        expected = f"client numbers that include `client_id = {client_id}`"
        require(client_id in self.attackers, "attackers", expected, attackers, advice)

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, so that the rest of the answer looks honest, and send this attacker's row of the attack."""
        received = copies(parameters)
        returned, num_examples, metrics = self.client.fit(parameters, config)
        rows = self._attack(received, config, server_round)
        sent = rows[self.attackers.index(self.client_id)]
        return with_update(sent, returned, received, self.payload), num_examples, metrics

    def _attack(self, received: Arrays, config: Config, server_round: int) -> Floats:
        """Return what all attackers send in this round, (f, d). The first attacker that asks computes it."""
        before = self.recollections(server_round)

        def compute() -> tuple[Floats, Memories]:
            known = recompute(self.make_honest, self.known, received, config, self.payload)
            rng = stream_of(ATTACK_STREAM, self.seed, server_round)
            attack = recalling(self.attack, before, known.shape[1])
            return attack(known, len(self.attackers), rng), remembered(attack, known.shape[1])

        who = (self.scope, self.attack, self.known, self.attackers, self.seed, self.payload)
        rows, after = ROUNDS.get((*who, digest(before), fingerprint(received, config)), compute)
        self.memory.keep(after)
        return rows


class OmniscientClient(ColludingClient):
    """An attacker that knows what every honest client sends.

    Parameters
    ----------
    client, attack, make_honest, attackers
        See `ColludingClient`. The attack gets the updates of the honest clients.
    honest : collection of int
        The numbers of the honest clients. None of them is an attacker. Sorted by these numbers,
        their updates are the rows that the attack gets.
    client_id, seed, payload, schedule, scope, context
        See `ColludingClient`.
    """

    def __init__(
        self,
        client: NumPyClient,
        attack: Collusion,
        make_honest: Callable[[int], NumPyClient],
        attackers: Collection[int],
        honest: Collection[int],
        *,
        client_id: int,
        seed: int = 0,
        payload: Payload = "parameters",
        schedule: AttackSchedule = ALWAYS,
        scope: Hashable = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(
            client,
            attack,
            make_honest,
            attackers,
            client_id=client_id,
            seed=seed,
            payload=payload,
            schedule=schedule,
            scope=scope,
            context=context,
        )
        self.known = _numbers("honest", honest)
        advice = "Leave the attackers out. A client is either honest or an attacker."
        apart = not set(self.known) & set(self.attackers)
        expected = f"client numbers without those of the attackers, {self.attackers}"
        require(apart, "honest", expected, honest, advice)


def _numbers(name: str, clients: Collection[int]) -> tuple[int, ...]:
    """Return client numbers in ascending order, at least one."""
    some = isinstance(clients, Collection) and len(clients) > 0
    require(
        some, name, "at least one client number", clients, "Pass their numbers, as in `(0, 1)`."
    )
    for client in clients:
        require_whole(name, client, 0, "Number the clients from 0.")
    return tuple(sorted(set(clients)))
