"""``AttackGrid`` puts attackers between any app of the Message API and its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from logging import WARNING
from typing import Any, Literal

from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.logger import log
from flwr.server.strategy import Strategy as FitStrategy
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flwr_byzantine.attacks.schedule import ALWAYS, AttackSchedule
from flwr_byzantine.checks import is_whole, wrong
from flwr_byzantine.clients.arrays import Arrays, Payload, is_floating
from flwr_byzantine.clients.wrapper import MissingRound, round_of
from flwr_byzantine.lab.attacker import Attacker
from flwr_byzantine.lab.placement import Byzantine
from flwr_byzantine.lab.seen import AttackedRound, Sent
from flwr_byzantine.strategies.given_model import LEGACY
from flwr_byzantine.strategies.passing_grid import PassingGrid, kind_of_message
from flwr_byzantine.strategies.robust_grid import RobustGrid

USAGE = "AttackGrid(grid, SignFlip(), byzantine=2)"
IN_ORDER = "`grid = RobustGrid(AttackGrid(grid, SignFlip(), byzantine=2), rule=Phocas(2))`"
NODES = (
    "Take ids from `grid.get_node_ids()`, which differ from run to run; or pass "
    "`order_by='partition-id'`, if nodes report that metric, and name the numbers 0, 1 and so on."
)
Records = dict[str, dict[str, Array]]


class AttackGrid(PassingGrid):
    """Replaces the replies of Byzantine nodes by what an attack sends. Use it in simulations and tests only.

    The app sends its messages through this grid: ``grid = AttackGrid(grid, SignFlip(), byzantine=2)``.
    Nothing else changes in the app or its clients. Attackers know what every node of the round received
    and sent. So omniscient and colluding attacks are exact in any app, even if clients shuffle without a
    seed. Only arrays in replies to training change. All other objects pass through unchanged.

    Parameters
    ----------
    grid : flwr.serverapp.Grid
        The grid that the app's main function is given, or another `AttackGrid` for a second attack.
    attack : attack
        One of `flwr_byzantine.attacks`, or a function like one. Attacks on data are refused, because the
        grid sees no data.
    byzantine : int, float, collection or callable
        How many nodes are Byzantine, or their share in (0, 1), rounded to the nearest whole number,
        halves up. The seed draws them at the first training. It may also be a collection of node
        ids, or a function ``byzantine(node_ids, server_round)`` that returns ids. A channel
        corrupts what every node sends, and does not use this parameter.
    seed : int
        The seed of all random choices, at least 0.
    schedule : flwr_byzantine.clients.AttackSchedule
        The rounds in which the attack is on; by default all.
    redraw : bool
        Whether Byzantine nodes are drawn anew in every round.
    knows : {"honest", "attackers"}
        Whose updates colluding attackers know: those of the honest nodes, or only what the attackers would
        send if they were honest.
    payload : {"parameters", "gradients"}
        What nodes return. With parameters, an update is the difference from the model received.
    order_by : str, optional
        A metric in which nodes report their number, such as ``"partition-id"``. Byzantine nodes are then
        drawn and named by that number. Without it, a node's number is its place among the sorted node ids.

    Raises
    ------
    ValueError
        If a parameter is out of range. ``send_and_receive`` raises it if there are too few nodes, or if
        messages belong to the ``aggregate_fit`` API. ``push_messages`` raises it for training messages.

    Notes
    -----
    The round is the one that messages name, as the wrappers of `flwr_byzantine.clients` read it. If
    messages name no round, the grid counts the calls with training messages.

    Random numbers depend only on the seed, the round and a node's number, as in those wrappers. If
    clients depend only on these too, and with ``order_by="partition-id"``, models are the same as
    in a federation of wrapped clients, to the last bit.

    An attack with a memory starts with an empty one. It remembers the rounds in which it is on.

    Attributes
    ----------
    byzantine : tuple of int
        The Byzantine nodes of the latest round, by node id.
    rounds : list of AttackedRound
        The Byzantine nodes of each round, and the nodes whose replies were changed.
    """

    def __init__(
        self,
        grid: Grid,
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
        _check_grid(grid)
        super().__init__(grid)
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
            nodes=NODES,
            as_node=_node_id,
        )
        self._round = 0
        log(
            WARNING,
            "AttackGrid attacks this run with %r. Use it in simulations and tests only",
            attack,
        )

    @property
    def byzantine(self) -> tuple[Any, ...]:
        """The Byzantine nodes of the latest round."""
        return self._attacker.byzantine

    @property
    def rounds(self) -> list[AttackedRound]:
        """Who was Byzantine in each round."""
        return self._attacker.rounds

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages that are not for training.

        Raises
        ------
        ValueError
            If a message is for training. Attackers need all replies of a round at once.
        """
        pushed = list(messages)
        for message in pushed:
            if kind_of_message(message) == "train":
                raise wrong(
                    "messages",
                    "not for training in `push_messages`",
                    None,
                    "Attackers need all replies of a round at once. Send them with "
                    "`grid.send_and_receive(messages)`, or wrap clients: `flwr_byzantine.clients`.",
                    found=f"one of type {message.metadata.message_type!r}",
                )
        return self.grid.push_messages(pushed)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies; those of Byzantine nodes are what attackers send."""
        sent = list(messages)
        given: dict[int, _Given] = {}
        for message in sent:
            if kind_of_message(message) == "train":
                given.setdefault(message.metadata.dst_node_id, _Given(message))
        if not given:
            return self.grid.send_and_receive(sent, timeout=timeout)
        server_round = next(iter(given.values())).server_round
        self._round = self._round + 1 if server_round is None else server_round
        self._attacker.begin({*self.grid.get_node_ids(), *given}, self._round)
        replies = list(self.grid.send_and_receive(sent, timeout=timeout))
        trained = [
            i
            for i, reply in enumerate(replies)
            if reply.metadata.src_node_id in given
            and kind_of_message(reply) == "train"
            and not reply.has_error()
        ]
        read = [given[replies[i].metadata.src_node_id].read(replies[i]) for i in trained]
        for i, arrays in self._attacker.change(read, self._round).items():
            reply = replies[trained[i]]
            replies[trained[i]] = given[reply.metadata.src_node_id].answer(reply, arrays)
        return replies

    def __repr__(self) -> str:
        """The grid and the attack."""
        return f"AttackGrid({self.grid!r}, {self._attacker.attack!r})"


class _Given:
    """A copy of what a node was asked to train on. The node may change the message itself."""

    def __init__(self, message: Message) -> None:
        content = message.content
        self.records: Records = {name: dict(r.items()) for name, r in content.array_records.items()}
        if any(name.startswith(LEGACY) for name in self.records):
            raise wrong(
                "messages",
                "training messages of the Message API",
                None,
                "Put the attack around the app's strategy: `flwr_byzantine.lab.AttackStrategy(strategy, "
                "SignFlip(), byzantine=2)`.",
                found="one of the `aggregate_fit` API, which sends one message to each client",
            )
        found = [round_of(config) for config in content.config_records.values()]
        told = [number for number in found if not isinstance(number, MissingRound)]
        self.server_round = told[0] if told else None

    def read(self, reply: Message) -> Sent:
        """Read a node's reply."""
        node = reply.metadata.src_node_id
        reported: dict[str, Any] = {}
        for metrics in reply.content.metric_records.values():
            reported |= metrics
        try:
            pairs = self._pairs(reply)
            returned = [array.numpy() for _, _, _, array in pairs]
        except Exception:  # not numpy's
            return Sent(node, reported, None, None)
        try:
            received = [array.numpy() for _, _, array, _ in pairs if array is not None]
        except Exception:
            received = []
        complete = len(received) == len(returned)
        return Sent(node, reported, received if complete else None, returned)

    def _pairs(self, reply: Message) -> list[tuple[str, str, Array | None, Array]]:
        """Record, name, received and returned array of each tensor of a reply, in the order received.

        A record belongs to the received record of the same name, or else to the one in the same place. The
        same holds for tensors.
        """
        pairs: list[tuple[str, str, Array | None, Array]] = []
        in_order = list(self.records.values())
        for place, (key, record) in enumerate(reply.content.array_records.items()):
            before = self.records.get(key, in_order[place] if place < len(in_order) else {})
            if before.keys() == record.keys():
                pairs += [(key, name, array, record[name]) for name, array in before.items()]
                continue
            alike = len(before) == len(record)
            received = list(before.values()) if alike else [None] * len(record)
            pairs += [
                (key, name, array, sent)
                for (name, sent), array in zip(record.items(), received, strict=True)
            ]
        if not pairs:
            raise ValueError("no tensors")
        return pairs

    def answer(self, reply: Message, arrays: Arrays) -> Message:
        """Return a node's reply with other arrays in it."""
        new: Records = {}
        for (key, name, _, before), array in zip(self._pairs(reply), arrays, strict=True):
            new.setdefault(key, {})[name] = Array(array) if is_floating(array) else before
        content = RecordDict(dict(reply.content.items()))
        for key, record in reply.content.array_records.items():
            content[key] = ArrayRecord({name: new[key][name] for name in record})
        answer = copy(reply)
        answer.content = content
        return answer


def _check_grid(grid: Any) -> None:
    """Raise unless attackers can be put behind this grid."""
    if isinstance(grid, FitStrategy | Strategy):
        instead = (
            "Use `flwr_byzantine.lab.AttackStrategy` for strategies of the `aggregate_fit` API."
            if isinstance(grid, FitStrategy)
            else f"Pass the `grid` that the app's main function is given: `{USAGE}`."
        )
        raise wrong("grid", "Flower's grid", grid, instead)
    inner = grid
    while isinstance(inner, PassingGrid):
        if isinstance(inner, RobustGrid):
            advice = f"The rule has to see what attackers send. Write {IN_ORDER}."
            raise wrong(
                "grid",
                "a grid without a rule, because the rule goes around the attack",
                grid,
                advice,
            )
        inner = inner.grid


def _node_id(value: Any) -> int:
    if not is_whole(value):
        raise TypeError
    return int(value)
