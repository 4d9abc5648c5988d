"""Makes the Byzantine clients of a run for its attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, singledispatch
from typing import Any

from flwr.app import Context
from flwr.client import NumPyClient

from flwr_byzantine.attacks import (
    Backdoor,
    Boost,
    ChannelAttack,
    ColludingAttack,
    LabelFlip,
    LocalAttack,
    ModelAttack,
    Optimized,
    RandomLabels,
)
from flwr_byzantine.clients import (
    BackdoorClient,
    ClientWrapper,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    MomentumClient,
    OmniscientClient,
)
from flwr_byzantine.clients.arrays import Arrays
from flwr_byzantine.clients.wrapper import Config, FitReply
from simulations.catalog.attacks import ATTACKS, MIXED, Lying, Mixed, Plan, plan_attack
from simulations.catalog.compositions import rule_of
from simulations.config import RunConfig
from simulations.federation.fitting import of_the_data

MakeHonest = Callable[..., NumPyClient]


def attack_client(
    make_honest: MakeHonest, client_id: int, config: RunConfig, context: Context | None = None
) -> NumPyClient:
    """Return a client of a run: an honest one, or an attacker.

    Parameters
    ----------
    make_honest : callable
        ``make_honest(client_id, label_map=None, poison=None)`` builds an honest client. With ``label_map`` it
        trains on the mapped labels, and with ``poison`` on ``poison(samples, labels)``.
    client_id : int
        The number of the client, from 0.
    config : RunConfig
        The run.
    context : Context, optional
        The context of its node, for an attack with a memory.
    """
    if config.attack == "none":
        return make_honest(client_id)
    attacked = AttackedClient(
        make_honest, client_id, config, plan_attack(config.attack, config.attack_args), context
    )
    if isinstance(attacked.plan.attack, ChannelAttack):
        return behave(attacked.plan.attack, attacked, frozenset())
    byzantine = config.who.byzantine_in(1)
    if config.redraw or (config.clients_per_round and client_id in byzantine):
        return ChangingClient(attacked)
    if client_id not in byzantine:
        return attacked.honest()
    return behave(attacked.plan.attack, attacked, byzantine)


@dataclass(frozen=True)
class AttackedClient:
    """A client's place in a run under attack.

    ``server_round`` is the round whose clients the attackers know. If every round has the same clients, it is
    the first round.
    """

    make_honest: MakeHonest
    client_id: int
    config: RunConfig
    plan: Plan
    context: Context | None = None
    server_round: int = 1

    def answering(self) -> frozenset[int]:
        """Return the numbers of the clients that answer, honest and Byzantine."""
        return self.config.who.answering_in(self.server_round)

    def honest(self) -> NumPyClient:
        """Return the client as it is without an attack."""
        return self.make_honest(self.client_id)

    def trainer(self) -> NumPyClient:
        """Return the honest client without its momentum."""
        honest = self.honest()
        return honest.client if isinstance(honest, MomentumClient) else honest

    def options(self) -> dict[str, Any]:
        """Return the arguments that every wrapper gets."""
        schedule = self.plan.schedule(self.config.attack_start)
        return {"client_id": self.client_id, "seed": self.config.seed, "schedule": schedule}


class ChangingClient(ClientWrapper):
    """A client whose part in the attack changes from round to round.

    It is Byzantine only in the rounds in which it is drawn, or it attacks together with those attackers that
    a round asks.

    Parameters
    ----------
    attacked : AttackedClient
        The client's place in the run.
    """

    def __init__(self, attacked: AttackedClient) -> None:
        super().__init__(attacked.honest(), client_id=attacked.client_id, seed=attacked.config.seed)
        self.attacked = attacked

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Behave in this round as the draw for it says."""
        now = replace(self.attacked, server_round=server_round)
        byzantine = now.config.who.byzantine_in(server_round) & now.answering()
        if self.client_id not in byzantine:
            return self.client.fit(parameters, config)
        return behave(now.plan.attack, now, byzantine).fit(parameters, config)


@singledispatch
def behave(attack: object, attacked: AttackedClient, byzantine: frozenset[int]) -> NumPyClient:
    """Return the Byzantine client for an attack. There is one function for each kind of attack."""
    raise TypeError(f"No client makes the attack {attack!r}. Register one with `behave`.")


@behave.register
def _alone(
    attack: LocalAttack | ModelAttack, attacked: AttackedClient, byzantine: frozenset[int]
) -> NumPyClient:
    run = attacked.config
    return MaliciousClient(
        attacked.honest(),
        attack.told(len(attacked.answering()), len(byzantine)),
        payload=run.payload,
        context=attacked.context,
        **attacked.options(),
    )


@behave.register
def _labels(
    attack: LabelFlip | RandomLabels, attacked: AttackedClient, byzantine: frozenset[int]
) -> NumPyClient:
    def make_client(label_map: Any) -> NumPyClient:
        return attacked.make_honest(attacked.client_id, label_map=label_map)

    attack = of_the_data(attack, attacked.config)
    client = LabelFlippingClient(make_client, attack, **attacked.options())
    return _boosted(client, attacked, byzantine)


@behave.register
def _backdoor(attack: Backdoor, attacked: AttackedClient, byzantine: frozenset[int]) -> NumPyClient:
    def make_client(poison: Any) -> NumPyClient:
        return attacked.make_honest(attacked.client_id, poison=poison)

    client = BackdoorClient(make_client, attack, **attacked.options())
    return _boosted(client, attacked, byzantine)


def _boosted(
    client: NumPyClient, attacked: AttackedClient, byzantine: frozenset[int]
) -> NumPyClient:
    """Return a client whose update is multiplied by the plan's factor."""
    boost = attacked.plan.boost
    if boost == 1 and boost is not True:
        return client
    attack = Boost(None if boost is True else float(boost))
    return behave(attack, replace(attacked, make_honest=lambda _: client), byzantine)


@behave.register
def _colluding(
    attack: ColludingAttack, attacked: AttackedClient, byzantine: frozenset[int]
) -> NumPyClient:
    run = attacked.config
    answering = attacked.answering()
    attack = attack.told(len(answering), len(byzantine))
    if isinstance(attack, Optimized) and attack.against is None:
        deployed = rule_of(run.rule, run.rule_args, run.assumed_byzantine, run.seed)
        attack = replace(attack, against=deployed)
    kind: Callable[..., NumPyClient] = ColludingClient
    if attacked.plan.knows == "honest":
        kind = partial(OmniscientClient, honest=answering - byzantine)
    # With momentum, each attacker itself follows the momentum of the others, and also its own if it knows
    # the attackers.
    own = f" by {attacked.client_id}" if run.momentum else ""
    return kind(
        client=attacked.trainer(),
        attack=attack,
        make_honest=attacked.make_honest,
        attackers=byzantine,
        payload=run.payload,
        scope=repr(run) + own,
        context=attacked.context,
        **attacked.options(),
    )


@behave.register
def _channel(
    attack: ChannelAttack, attacked: AttackedClient, byzantine: frozenset[int]
) -> NumPyClient:
    return CorruptedChannelClient(
        attacked.honest(), attack, attacked.config.clients, **attacked.options()
    )


@behave.register
def _mixed(attack: Mixed, attacked: AttackedClient, byzantine: frozenset[int]) -> NumPyClient:
    rank = sorted(byzantine).index(attacked.client_id)
    return behave(MIXED[rank % len(MIXED)], attacked, byzantine)


@behave.register
def _lying(attack: Lying, attacked: AttackedClient, byzantine: frozenset[int]) -> NumPyClient:
    client = attacked.honest()
    if attack.update != "honest":
        client = behave(ATTACKS[attack.update](), attacked, byzantine)
    return LyingClient(client, attack.num_examples, **attacked.options())
