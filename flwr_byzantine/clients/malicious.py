"""Clients that misbehave without knowing other clients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from flwr.app import Context
from flwr.client import NumPyClient

from flwr_byzantine.attacks import ModelAttack
from flwr_byzantine.attacks.base import Floats, require
from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.clients.arrays import (
    Arrays,
    Payload,
    copies,
    model_of,
    to_send,
    update_of,
    with_update,
)
from flwr_byzantine.clients.kinds import check_kind
from flwr_byzantine.clients.memory import RememberingClient, recalling, remembered
from flwr_byzantine.clients.wrapper import (
    ATTACK_STREAM,
    ClientWrapper,
    Config,
    FitReply,
    stream_of,
)

INT64 = 2**63


class MaliciousClient(RememberingClient):
    """A client that trains honestly and sends what an attack makes from its update, or from the model.

    Parameters
    ----------
    client : NumPyClient
        Any client.
    attack : callable
        A local attack, ``attack(own, rng)``: one of `flwr_byzantine.attacks` or your own. It may also be a
        `ModelAttack`, which gets the floating-point values of the received model, end to end.
    client_id, seed, schedule
        See `ClientWrapper`. Attackers with a `ModelAttack` and the same seed draw the same numbers and are
        on in the same rounds.
    payload : {"parameters", "gradients"}
        What the client returns from ``fit``. With parameters, the attack gets and replaces the
        difference from the model received. Integer and boolean tensors are sent unchanged. With
        gradients, the client sends what the attack returns. A `ModelAttack` returns a change of the
        model, so the client sends its negative, because the server steps against gradients.
    context : Context, optional
        The context of the node, which ``client_fn`` gets, for an attack with a memory. The memory is kept in
        ``context.state``, which lasts from round to round of a run. Without it the wrapper keeps the memory
        itself. That is right only for a client that lives as long as the run, but Flower's simulation and
        its SuperNodes build a new client in each round.

    Examples
    --------
    >>> import numpy as np
    >>> from flwr_byzantine.attacks import SignFlip
    >>> class Trainer(NumPyClient):
    ...     def fit(self, parameters, config):
    ...         return [p + 1 for p in parameters], 10, {}
    >>> client = MaliciousClient(Trainer(), SignFlip(scale=4))
    >>> client.fit([np.array([5.0, 6.0])], {"server-round": 1})
    ([array([1., 2.])], 10, {})
    """

    def __init__(
        self,
        client: NumPyClient,
        attack: Callable[[Floats, np.random.Generator], Floats],
        *,
        client_id: int = 0,
        seed: int = 0,
        payload: Payload = "parameters",
        schedule: AttackSchedule = ALWAYS,
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
        check_kind(self.attack, "MaliciousClient")
        self.together = isinstance(self.attack, ModelAttack)

    def rng(self, server_round: int) -> np.random.Generator:
        """Return the client's random numbers of a round, or those of all attackers for a `ModelAttack`."""
        if self.together:
            return stream_of(ATTACK_STREAM, self.seed, server_round)
        return super().rng(server_round)

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, and replace the update."""
        received = copies(parameters)
        returned, num_examples, metrics = self.client.fit(parameters, config)
        of_the_model = isinstance(self.attack, ModelAttack)
        known = (
            model_of(returned, received)
            if of_the_model
            else update_of(returned, received, self.payload)
        )
        attack = recalling(self.attack, self.recollections(server_round), known.size)
        sent = attack(known, self.rng(server_round))
        self.memory.keep(remembered(attack, known.size))
        if of_the_model:
            sent = to_send(sent, self.payload)
        return with_update(sent, returned, received, self.payload), num_examples, metrics


class LyingClient(ClientWrapper):
    """A client that trains honestly and reports an absurd number of examples.

    Parameters
    ----------
    client : NumPyClient
        Any client, also one that attacks in other ways.
    num_examples : int
        The number that it reports. It may be huge, 0 or negative. Flower transmits 64 bits with a sign.
    client_id, seed, schedule
        See `ClientWrapper`.
    """

    def __init__(
        self,
        client: NumPyClient,
        num_examples: int = 10**12,
        *,
        client_id: int = 0,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
    ) -> None:
        super().__init__(client, client_id=client_id, seed=seed, schedule=schedule)
        require(
            isinstance(num_examples, int) and -INT64 <= num_examples < INT64,
            "num_examples",
            "a whole number from -2**63 to 2**63 - 1",
            num_examples,
            "Flower cannot transmit other numbers.",
        )
        self.num_examples = num_examples

    def misbehave(self, parameters: Arrays, config: Config, server_round: int) -> FitReply:
        """Train, and report a wrong number of examples."""
        returned, _, metrics = self.client.fit(parameters, config)
        return returned, self.num_examples, metrics
