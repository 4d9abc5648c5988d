"""Which clients of a run are Byzantine, and what the attack makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, singledispatch
from typing import TYPE_CHECKING, Any

from flwr.client import NumPyClient

from flwr_byzantine.attacks import (
    ChannelAttack,
    ColludingAttack,
    LabelFlip,
    LittleIsEnough,
    LocalAttack,
)
from flwr_byzantine.attacks.base import require, require_whole, stream
from flwr_byzantine.clients import (
    AttackSchedule as Schedule,
)
from flwr_byzantine.clients import (
    ClientWrapper,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
)
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.wrapper import Config
from flwr_byzantine.clients.wrapper import FitReply as Reply
from simulations.attack_plans import (
    ATTACK_NAMES,
    ATTACKS,
    MIXED,
    Lying,
    Mixed,
    Plan,
    check_attack,
    plan_attack,
)

if TYPE_CHECKING:
    from simulations.config import RunConfig

__all__ = ["ATTACK_NAMES", "attack_client", "byzantine_clients", "check_attack"]

MakeHonest = Callable[..., NumPyClient]

DRAW_STREAM = 0xD4A
PLACEMENTS = ("first", "drawn")


def byzantine_clients(
    n: int,
    f: int,
    seed: int,
    placement: str = "first",
    redraw: bool = False,
    server_round: int = 1,
) -> frozenset[int]:
    """Return the numbers of the f Byzantine clients among n.

    Parameters
    ----------
    n, f : int
        The number of clients, and of Byzantine ones among them.
    seed : int
        The seed of the run.
    placement : {"first", "drawn"}
        The first f, or f drawn by the seed.
    redraw : bool
        Draw anew in every round, whatever the placement.
    server_round : int
        The round; it matters only with `redraw`.

    Examples
    --------
    >>> sorted(byzantine_clients(n=20, f=3, seed=0))
    [0, 1, 2]
    """
    require_whole("f", f, 0, "Count the Byzantine clients.")
    require(f <= n, "f", f"at most `n = {n}`", f, "There are no more clients.")
    known = f"one of {', '.join(PLACEMENTS)}"
    require(placement in PLACEMENTS, "placement", known, placement, "Choose one of them.")
    if placement == "first" and not redraw:
        return frozenset(range(f))
    keys = (server_round,) if redraw else ()
    drawn = stream(DRAW_STREAM, seed, *keys).choice(n, f, replace=False)
    return frozenset(int(client) for client in drawn)


def attack_client(make_honest: MakeHonest, client_id: int, config: RunConfig) -> NumPyClient:
    """Return a client of a run: honest, or what the attack makes of it.

    Parameters
    ----------
    make_honest : callable
        ``make_honest(client_id, label_map=None)`` builds an honest client, which with a label map
        trains on the mapped labels.
    client_id : int
        The number of the client, from 0.
    config : RunConfig
        The run.
    """
    if config.attack == "none":
        return make_honest(client_id)
    seat = Seat(make_honest, client_id, config, plan_attack(config.attack, config.attack_args))
    if isinstance(seat.plan.attack, ChannelAttack):
        return behave(seat.plan.attack, seat, frozenset())
    if config.redraw:
        return RedrawnClient(seat)
    byzantine = byzantine_clients(config.clients, config.byzantine, config.seed, config.placement)
    return behave(seat.plan.attack, seat, byzantine) if client_id in byzantine else seat.honest()


@dataclass(frozen=True)
class Seat:
    """A client's place in a run under attack."""

    make_honest: MakeHonest
    client_id: int
    config: RunConfig
    plan: Plan

    def honest(self) -> NumPyClient:
        """Return the client that it is when nobody attacks."""
        return self.make_honest(self.client_id)

    def options(self) -> dict[str, Any]:
        """Return what every wrapper is told."""
        start, fraction = self.config.attack_start, self.plan.fraction
        schedule = Schedule(start_round=start, fraction=fraction)
        return {"client_id": self.client_id, "seed": self.config.seed, "schedule": schedule}


class RedrawnClient(ClientWrapper):
    """A client that is Byzantine only in the rounds in which it is drawn.

    Parameters
    ----------
    seat : Seat
        The client's place in the run.
    """

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat.honest(), client_id=seat.client_id, seed=seat.config.seed)
        self.seat = seat

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> Reply:
        """Be what this round's draw makes of the client."""
        run = self.seat.config
        byzantine = byzantine_clients(
            run.clients, run.byzantine, run.seed, run.placement, True, server_round
        )
        if self.client_id not in byzantine:
            return self.client.fit(parameters, config)
        return behave(self.seat.plan.attack, self.seat, byzantine).fit(parameters, config)


@singledispatch
def behave(attack: object, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    """Return the Byzantine client in a seat: one function for each kind of attack."""
    raise TypeError(f"No client commits the attack {attack!r}: register one with `behave`.")


@behave.register
def _(attack: LocalAttack, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    payload = seat.config.payload
    return MaliciousClient(seat.honest(), attack, payload=payload, **seat.options())


@behave.register
def _(attack: LabelFlip, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    def make_client(label_map: Any) -> NumPyClient:
        return seat.make_honest(seat.client_id, label_map=label_map)

    return LabelFlippingClient(make_client, attack, **seat.options())


@behave.register
def _(attack: ColludingAttack, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    run = seat.config
    if isinstance(attack, LittleIsEnough) and attack.num_clients is None:
        attack = replace(attack, num_clients=run.clients)
    kind: Callable[..., NumPyClient] = ColludingClient
    if seat.plan.knows == "honest":
        kind = partial(OmniscientClient, honest=frozenset(range(run.clients)) - byzantine)
    return kind(
        client=seat.honest(),
        attack=attack,
        make_honest=seat.make_honest,
        attackers=byzantine,
        payload=run.payload,
        scope=repr(run),
        **seat.options(),
    )


@behave.register
def _(attack: ChannelAttack, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    return CorruptedChannelClient(seat.honest(), attack, seat.config.clients, **seat.options())


@behave.register
def _(attack: Mixed, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    rank = sorted(byzantine).index(seat.client_id)
    return behave(MIXED[rank % len(MIXED)], seat, byzantine)


@behave.register
def _(attack: Lying, seat: Seat, byzantine: frozenset[int]) -> NumPyClient:
    client = seat.honest()
    if attack.update != "honest":
        client = behave(ATTACKS[attack.update](), seat, byzantine)
    return LyingClient(client, attack.num_examples, **seat.options())
