"""``AttackStrategy`` puts attackers in front of any strategy of the ``aggregate_fit`` API."""

from __future__ import annotations

from dataclasses import replace
from logging import WARNING
from typing import Any, Literal

from flwr.common import (
    FitIns,
    FitRes,
    Parameters,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.logger import log
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.strategy import Strategy
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy as MessageStrategy

from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.checks import wrong
from flwr_byzantine.clients.arrays import Arrays, Payload
from flwr_byzantine.clients.wrapper import MissingRound, round_of
from flwr_byzantine.lab.attacker import Attacker
from flwr_byzantine.lab.placement import Byzantine
from flwr_byzantine.lab.seen import AttackedRound, Sent
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.fit_wrapped import Delegating
from flwr_byzantine.strategies.hosts import callers

USAGE = "AttackStrategy(strategy, SignFlip(), byzantine=2)"
IN_ORDER = "`AttackStrategy(ByzantineRobust(strategy, Phocas(2)), SignFlip(), byzantine=2)`"
CLIENTS = (
    "Take the ids of clients, `cid`, which differ from run to run; or pass `order_by='partition-id'`, if "
    "clients report that metric, and name the numbers 0, 1 and so on."
)


class AttackStrategy(Delegating):
    """Replaces results of Byzantine clients by what an attack sends. Use it in simulations and tests only.

    It goes around any strategy of `flwr.server.strategy`, also around a protected one:
    ``AttackStrategy(ByzantineRobust(FedAdam(...), rule), SignFlip(), byzantine=2)``. The strategy
    inside gets the results with the attackers' parameters in them. All else stays as before, and
    you can use the inner strategy's methods and attributes.

    Parameters
    ----------
    strategy : flwr.server.strategy.Strategy
        The strategy to attack, or another `AttackStrategy` for a second attack.
    attack, byzantine, seed, schedule, redraw, knows, payload, order_by
        See :class:`flwr_byzantine.lab.AttackGrid`. The id of a client is its ``cid``.

    Raises
    ------
    ValueError
        If a parameter is out of range. ``configure_fit`` raises it if there are too few clients, or if a
        rule is around the attack and not inside.

    Notes
    -----
    This is :class:`flwr_byzantine.lab.AttackGrid` for the other API. The notes there on the round, on
    random numbers and on attacks with a memory hold here too. If the configuration names no round,
    the server's round counts.

    Attributes
    ----------
    byzantine : tuple of str
        The Byzantine clients of the latest round, by ``cid``.
    rounds : list of AttackedRound
        The Byzantine clients of each round, and the clients whose results were changed.
    """

    def __init__(
        self,
        strategy: Strategy,
        attack: Any,
        byzantine: Byzantine | None = None,
        *,
        seed: int = 0,
        schedule: AttackSchedule = ALWAYS,
        redraw: bool = False,
        knows: Literal["honest", "attackers"] = "honest",
        payload: Payload = "parameters",
        order_by: str | None = None,
    ) -> None:
        if isinstance(strategy, MessageStrategy | Grid):
            advice = "For the Message API, attack its grid: `flwr_byzantine.lab.AttackGrid`."
            raise wrong("strategy", "one of `flwr.server.strategy`", strategy, advice)
        super().__init__(strategy)
        self._attacker = Attacker(
            attack,
            byzantine,
            seed=seed,
            schedule=schedule,
            redraw=redraw,
            knows=knows,
            payload=payload,
            order_by=order_by,
            usage=USAGE,
            nodes=CLIENTS,
            as_node=_cid,
        )
        self._round = 0
        self._given: dict[str, Parameters] = {}
        text = "AttackStrategy attacks this run with %r. Use it in simulations and tests only"
        log(WARNING, text, attack)

    @property
    def byzantine(self) -> tuple[Any, ...]:
        """The Byzantine clients of the latest round."""
        return self._attacker.byzantine

    @property
    def rounds(self) -> list[AttackedRound]:
        """Who was Byzantine in each round."""
        return self._attacker.rounds

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """Ask the strategy inside, and note what clients receive."""
        if any(isinstance(caller, RobustStrategy) for caller in callers(self)):
            advice = f"The rule has to see what attackers send. Write {IN_ORDER}."
            raise wrong(
                "strategy", "a strategy without an attack, if a rule is around it", self, advice
            )
        asked = self.strategy.configure_fit(server_round, parameters, client_manager)
        self._given = {proxy.cid: ins.parameters for proxy, ins in asked}
        told = [round_of(ins.config) for _, ins in asked[:1]]
        known = [number for number in told if not isinstance(number, MissingRound)]
        self._round = known[0] if known else server_round
        if asked:
            self._attacker.begin({*client_manager.all(), *self._given}, self._round)
        return asked

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """Give the strategy inside what attackers send, in place of the results of Byzantine clients."""
        asked = [i for i, (proxy, _) in enumerate(results) if proxy.cid in self._given]
        read = [self._read(*results[i]) for i in asked]
        handed = list(results)
        for i, arrays in self._attacker.change(read, self._round).items():
            proxy, result = results[asked[i]]
            changed = replace(result, parameters=ndarrays_to_parameters(arrays))
            handed[asked[i]] = (proxy, changed)
        return self.strategy.aggregate_fit(server_round, handed, failures)

    def aggregate_evaluate(self, server_round: int, results: Any, failures: Any) -> Any:
        """Ask the strategy inside."""
        return self.strategy.aggregate_evaluate(server_round, results, failures)

    def _read(self, proxy: ClientProxy, result: FitRes) -> Sent:
        received = _arrays(self._given[proxy.cid])
        return Sent(proxy.cid, result.metrics or {}, received, _arrays(result.parameters))

    def __repr__(self) -> str:
        """The strategy inside and the attack."""
        return f"AttackStrategy({self.strategy!r}, {self._attacker.attack!r})"

    def __getattr__(self, name: str) -> Any:
        """Look up in the inner strategy what this class does not have."""
        if name.startswith("_") or "strategy" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name
            )
        return getattr(self.strategy, name)


def _arrays(parameters: Parameters) -> Arrays | None:
    """Tensors; None if they are no numpy arrays."""
    try:
        arrays = parameters_to_ndarrays(parameters)
    except Exception:
        return None
    return arrays or None


def _cid(value: Any) -> str:
    return str(value)
