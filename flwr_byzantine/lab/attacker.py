"""Attackers that see everything that nodes receive and send. Both APIs use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from logging import WARNING
from typing import Any

from flwr.common.logger import log

from flwr_byzantine.attacks.base import Remembering, Told
from flwr_byzantine.attacks.schedule import AttackSchedule
from flwr_byzantine.checks import (
    is_whole,
    require,
    require_bool,
    require_choice,
    require_whole,
    wrong,
)
from flwr_byzantine.clients.arrays import Arrays, check_payload
from flwr_byzantine.clients.memory import recalling, remembered
from flwr_byzantine.clients.recompute import fingerprint
from flwr_byzantine.lab.commit import (
    Exchange,
    Moment,
    alone,
    knowing_the_model,
    layout,
    on_the_way,
    together,
)
from flwr_byzantine.lab.kinds import Kind, understand
from flwr_byzantine.lab.placement import Node, Placement
from flwr_byzantine.lab.seen import AttackedRound, Sent, in_order

KNOWS = ("honest", "attackers")


class Attacker:
    """The attackers of a federation, from round to round.

    Parameters
    ----------
    attack, byzantine, seed, schedule, redraw, knows, payload, order_by
        See :class:`flwr_byzantine.lab.AttackGrid`.
    usage : str
        How the user should have written it, for errors.
    nodes : str
        How to name nodes, for errors.
    as_node : callable
        Turns the user's name of a node into the name that is used here.
    """

    def __init__(
        self,
        attack: Any,
        byzantine: Any,
        *,
        seed: int,
        schedule: AttackSchedule,
        redraw: bool,
        knows: str,
        payload: Any,
        order_by: str | None,
        usage: str,
        nodes: str,
        as_node: Any,
    ) -> None:
        self.attack, self.spells, self.kind = understand(attack, usage)
        require_whole("seed", seed, 0, "Choose any other seed.")
        advice = "Write `schedule=AttackSchedule(start_round=3)`."
        is_schedule = isinstance(schedule, AttackSchedule)
        require(is_schedule, "schedule", "an AttackSchedule", schedule, advice)
        require_bool("redraw", redraw)
        require_choice("knows", knows, KNOWS, "Say whose updates the attackers know.")
        of_use = knows == "honest" or self.kind is Kind.COLLUDING
        advice = "Leave it out: this attack gets no updates of other nodes."
        require(of_use, "knows", f"'honest' for {attack!r}", knows, advice)
        check_payload(payload)
        advice = "Name a metric that all nodes report, such as `partition-id`."
        is_text = order_by is None or isinstance(order_by, str)
        require(is_text, "order_by", "the name of a metric", order_by, advice)
        self.seed, self.schedule, self.knows, self.payload = seed, schedule, knows, payload
        self.order_by, self.redraw = order_by, redraw
        self.numbers: dict[Node, int] = {}
        self.rounds: list[AttackedRound] = []
        self._awake: dict[Any, tuple[Any, int]] = {}
        self._chosen: frozenset[Node] = frozenset()
        self._nodes: list[Node] = []
        self.placement: Placement | None = None
        if self.kind is not Kind.CHANNEL:
            if order_by is not None:
                nodes, as_node = f"With `order_by`, pass what nodes report as {order_by!r}.", _whole
            self.placement = Placement(byzantine, seed, redraw, nodes, as_node)
        elif byzantine is not None:
            text = (
                "%r corrupts what every node sends. The parameter `byzantine` has no effect on it"
            )
            log(WARNING, text, self.attack)

    @property
    def byzantine(self) -> tuple[Node, ...]:
        """The Byzantine nodes of the latest round, in order."""
        return self.rounds[-1].byzantine if self.rounds else ()

    def begin(self, nodes: Iterable[Node], server_round: int) -> None:
        """Decide who is Byzantine, before anything is sent.

        Raises
        ------
        ParameterError
            If there are fewer nodes than attackers, or no honest node is left though the attack needs one.
        """
        self._nodes = sorted(set(nodes), key=in_order)
        if self.order_by is None:
            for node in self._nodes:
                self.numbers.setdefault(node, len(self.numbers))
        if self.placement is None:
            return
        n = len(self._nodes)
        labels: Sequence[Node] = self._nodes if self.order_by is None else range(n)
        self._chosen = self.placement.of_round(labels, server_round)
        if self.order_by is None:
            drawn = not (self.placement.named or self.placement.given_by)
            self.placement.check(self._chosen, self.numbers if drawn else self._nodes)
        f = len(self._chosen)
        needs = self.kind is Kind.COLLUDING and self.knows == "honest"
        if needs and f >= n:
            raise wrong(
                "byzantine",
                f"less than the number of nodes, which is {n}",
                self.placement.byzantine,
                "The attack is computed from what honest nodes send. Leave some nodes honest, or pass "
                "`knows='attackers'`.",
            )

    def change(self, replies: Sequence[Sent], server_round: int) -> dict[int, Arrays]:
        """Return what attackers send in place of some replies, by the positions of the replies.

        Parameters
        ----------
        replies : sequence of Sent
            All replies of the round except errors, in any order.
        server_round : int
            The round.
        """
        if self.order_by is not None:
            self._learn(replies)
        usable = self._usable(replies, server_round)
        now = Moment(server_round, self.seed, self.payload)
        changed = self._changed(usable, [self._is_byzantine(sent.node) for sent in replies], now)
        byzantine = [node for node in self._nodes if self._is_byzantine(node)]
        attacked = sorted({replies[i].node for i in changed}, key=in_order)
        self.rounds.append(AttackedRound(server_round, tuple(byzantine), tuple(attacked)))
        return changed

    def _changed(
        self, usable: Mapping[int, Exchange], byzantine: Sequence[bool], now: Moment
    ) -> dict[int, Arrays]:
        if self.kind is Kind.CHANNEL:
            hit = [i for i in usable if self._is_on(usable[i].number, now.server_round)]
            n = len(self._nodes)
            return {i: on_the_way(self.attack, usable[i], n, now) for i in hit}
        attackers = [
            i for i in usable if byzantine[i] and self._is_on(usable[i].number, now.server_round)
        ]
        if not attackers:
            return {}
        n, f = len(usable), len(attackers)
        attack = self.attack.told(n, f) if isinstance(self.attack, Told) else self.attack
        if self.kind is Kind.LOCAL:
            return {
                i: alone(self._recall(attack, usable[i].number, usable[i]), usable[i], now)
                for i in attackers
            }
        if self.kind is Kind.MODEL:
            return self._knowing_the_model(attack, usable, attackers, now)
        honest = [i for i in usable if not byzantine[i]]
        known = honest if self.knows == "honest" else attackers
        if not known:
            text = "Round %s has no attack, because there is no honest reply that the attackers could know"
            log(WARNING, text, now.server_round)
            return {}
        rows = together(
            self._recall(attack, None, usable[known[0]]),
            [usable[i] for i in known],
            [usable[i] for i in attackers],
            now,
        )
        return dict(zip(attackers, rows, strict=True))

    def _knowing_the_model(
        self, attack: Any, usable: Mapping[int, Exchange], attackers: Sequence[int], now: Moment
    ) -> dict[int, Arrays]:
        """Let attackers send the same if they received the same model and change it in the same places."""
        groups: dict[Any, list[int]] = {}
        for i in attackers:
            kind = fingerprint(usable[i].received, {}), layout(usable[i])
            groups.setdefault(kind, []).append(i)
        changed: dict[int, Arrays] = {}
        for key, group in enumerate(groups.values()):
            awake = self._recall(attack, key, usable[group[0]])
            rows = knowing_the_model(awake, [usable[i] for i in group], now)
            changed |= dict(zip(group, rows, strict=True))
        return changed

    def _recall(self, attack: Any, key: int | None, sent: Exchange) -> Any:
        """An attack. If it has a memory, it gets the memory that is kept under a key."""
        if not isinstance(attack, Remembering):
            return attack
        before = remembered(*self._awake[key]) if key in self._awake else {}
        awake = recalling(attack, before, sent.size)
        self._awake[key] = awake, sent.size
        return awake

    def _is_on(self, number: int, server_round: int) -> bool:
        keys = () if self.kind.together else (number,)
        return all(
            each.is_on(server_round, self.seed, *keys) for each in (self.spells, self.schedule)
        )

    def _is_byzantine(self, node: Node) -> bool:
        label = node if self.order_by is None else self.numbers.get(node)
        return label in self._chosen

    def _learn(self, replies: Sequence[Sent]) -> None:
        """Note the numbers that nodes report."""
        assert self.order_by is not None
        for sent in replies:
            reported = sent.reported.get(self.order_by)
            if is_whole(reported) and reported >= 0:  # type: ignore[operator]
                self.numbers[sent.node] = int(reported)  # type: ignore[arg-type]
        if replies and not any(sent.node in self.numbers for sent in replies):
            advice = "Let the app's nodes report it, or leave `order_by` out and go by node ids."
            metrics = f"{sorted(replies[0].reported)} among their metrics"
            expected = "a metric in which nodes report a whole number"
            raise wrong("order_by", expected, self.order_by, advice, found=metrics)
        if self.placement is not None and all(node in self.numbers for node in self._nodes):
            self.placement.check(self._chosen, sorted(self.numbers.values()))

    def _usable(self, replies: Sequence[Sent], server_round: int) -> dict[int, Exchange]:
        """The positions of the replies that can be compared, in the order of the nodes' numbers."""
        readable = {}
        for i, sent in enumerate(replies):
            if sent.returned is None or sent.node not in self.numbers:
                continue
            received = sent.returned if sent.received is None else sent.received
            if (self.payload == "parameters" or self.kind is Kind.MODEL) and (
                sent.received is None
                or [a.shape for a in received] != [a.shape for a in sent.returned]
            ):
                continue
            readable[i] = Exchange(self.numbers[sent.node], received, sent.returned)
        if self.kind is Kind.COLLUDING and readable:
            layouts = Counter(map(layout, readable.values()))
            most = layouts.most_common(1)[0][0]
            readable = {i: found for i, found in readable.items() if layout(found) == most}
        left = sorted(
            {replies[i].node for i in range(len(replies)) if i not in readable}, key=in_order
        )
        if left:
            text = (
                "Round %s: the attack leaves out %s. Their arrays cannot be read, or their shapes differ "
                "from the model's. If nodes send gradients, pass `payload='gradients'`"
            )
            log(WARNING, text, server_round, ", ".join(map(str, left)))
        return dict(sorted(readable.items(), key=lambda item: item[1].number))


def _whole(value: Any) -> int:
    if not is_whole(value):
        raise TypeError
    return int(value)
