"""When an attack is on: schedules of rounds, and attacks that carry one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from ..checks import KnownKeywords, require, require_finite, require_whole, wrong
from ..rules.base import Rule
from .base import stream

COIN_STREAM = 0xC01


@dataclass(frozen=True)
class AttackSchedule(KnownKeywords):
    """The rounds in which a client misbehaves.

    Parameters
    ----------
    start_round : int
        The first round, counted from 1, in which it can misbehave.
    fraction : float
        The share, in [0, 1], of these rounds in which it does misbehave. They are random, and the
        same in every run with the same seed.
    period : int, optional
        For how many rounds it can misbehave before it pauses. After the pause it can misbehave again. By
        default it can misbehave in every round from the start round on.
    off : int, optional
        For how many rounds it pauses; by default ``period`` rounds.

    Examples
    --------
    >>> def rounds(schedule):
    ...     return [number for number in range(1, 11) if schedule.is_on(number, seed=0)]
    >>> rounds(AttackSchedule(start_round=8))
    [8, 9, 10]
    >>> rounds(AttackSchedule(start_round=3, period=2))
    [3, 4, 7, 8]
    >>> rounds(AttackSchedule(period=1, off=3))
    [1, 5, 9]
    """

    start_round: int = 1
    fraction: float = 1.0
    period: int | None = None
    off: int | None = None

    def __post_init__(self) -> None:
        require_whole("start_round", self.start_round, 0, "Rounds are counted from 1.")
        require_finite("fraction", self.fraction)
        advice = "1 is every round, 0.25 one in four."
        require(0 <= self.fraction <= 1, "fraction", "in [0, 1]", self.fraction, advice)
        if self.period is not None:
            require_whole("period", self.period, 1, "Leave it out for an attack that never pauses.")
        if self.off is not None:
            require_whole("off", self.off, 0, "Leave it out to pause for `period` rounds.")
            advice = "An attack that never pauses starts later with `start_round`."
            require(self.period is not None, "off", "None without a `period`", self.off, advice)

    @property
    def always(self) -> bool:
        """Whether it is on in every round, so that the round does not matter."""
        pauses = self.period is not None and self.off != 0
        return self.start_round <= 1 and self.fraction == 1 and not pauses

    def is_on(self, server_round: int, seed: int, *keys: int) -> bool:
        """Return whether it is on in a round. Each further key gives its own random choice."""
        if server_round < self.start_round:
            return False
        if self.period is not None:
            pause = self.period if self.off is None else self.off
            if (server_round - self.start_round) % (self.period + pause) >= self.period:
                return False
        if self.fraction == 1:
            return True
        coin = stream(COIN_STREAM, seed, server_round, *keys).random()
        return bool(coin < self.fraction)


ALWAYS = AttackSchedule()


@dataclass(frozen=True)
class OnOff(KnownKeywords):
    r"""An attacker that is honest in some rounds and attacks in others, so that it keeps a good reputation.

    With a period of :math:`p` it is honest in the rounds 1 to :math:`p`, attacks in the rounds
    :math:`p + 1` to :math:`2p`, is honest again, and so on. Rounds are counted from 1.

    Parameters
    ----------
    attack : attack
        An attack of any kind: one of `flwr_byzantine.attacks` or your own.
    period : int, optional
        For how many rounds it attacks before it is honest again. Without this, it never stops.
    off : int, optional
        For how many rounds it is honest, at first and between attacks; by default ``period``.
    start_round : int, optional
        The first round of the attack. The default is ``off + 1``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or if none of ``period``, ``off`` and ``start_round`` is given. A call
        always raises it, because a call does not tell the round.

    Notes
    -----
    The wrappers of `flwr_byzantine.clients` understand it. They use ``attack`` in rounds in which both
    ``is_on(server_round)`` and their own ``schedule`` are on. In the other rounds the client sends what
    an honest client sends, and an attack with a memory does not remember them.

    It is an :class:`AttackSchedule` that belongs to the attack and begins with honest rounds.
    ``OnOff(attack, period=p)`` and ``AttackSchedule(start_round=p + 1, period=p)`` mean the same rounds.

    Examples
    --------
    >>> from flwr_byzantine.attacks import SignFlip
    >>> def rounds(attack):
    ...     return [number for number in range(1, 11) if attack.is_on(number)]
    >>> rounds(OnOff(SignFlip(), period=3))
    [4, 5, 6, 10]
    >>> rounds(OnOff(SignFlip(), off=7))
    [8, 9, 10]
    >>> rounds(OnOff(SignFlip(), period=1, off=2, start_round=1))
    [1, 4, 7, 10]
    """

    attack: Any
    period: int | None = None
    off: int | None = None
    start_round: int | None = None

    def __post_init__(self) -> None:
        whole = can_attack(self.attack) and not isinstance(self.attack, OnOff)
        advice = "Pass an instance, as in `OnOff(SignFlip(), period=5)`. One schedule is enough."
        require(whole, "attack", "an attack without a schedule of its own", self.attack, advice)
        given = any(each is not None for each in (self.period, self.off, self.start_round))
        advice = (
            "Say for how many rounds it attacks, or with `off` how many rounds are honest first."
        )
        require(given, "period", "given", self.period, advice)
        if self.period is not None:
            require_whole("period", self.period, 1, "Leave it out for an attack that never stops.")
        if self.off is not None:
            require_whole("off", self.off, 0, "Leave it out to be honest for `period` rounds.")
            used = self.period is not None or self.start_round is None
            advice = "It would have no effect, because the attack starts at `start_round` and never pauses."
            require(used, "off", "None with a `start_round` and no `period`", self.off, advice)
        if self.start_round is not None:
            require_whole("start_round", self.start_round, 0, "Rounds are counted from 1.")

    @property
    def schedule(self) -> AttackSchedule:
        """The same rounds as a schedule."""
        off = self.period if self.off is None else self.off
        start = (off or 0) + 1 if self.start_round is None else self.start_round
        return AttackSchedule(start, 1.0, self.period, None if self.period is None else off)

    def is_on(self, server_round: int) -> bool:
        """Return whether it attacks in a round."""
        return self.schedule.is_on(server_round, seed=0)

    def __call__(self, *arguments: object, **named: object) -> NoReturn:
        """Raise an error, because a call does not tell the round."""
        advice = (
            "Give it to a wrapper of `flwr_byzantine.clients`, or ask `is_on(server_round)` and then call "
            "its `attack`."
        )
        raise wrong("attack", "called in the rounds in which it is on", self, advice)


def can_attack(value: object) -> bool:
    """Return whether it can be called like an attack. Classes and rules cannot."""
    return callable(value) and not isinstance(value, Rule | type)


def split(attack: Any) -> tuple[Any, AttackSchedule]:
    """Return an attack and its own rounds. They are all rounds, except for :class:`OnOff`."""
    return (attack.attack, attack.schedule) if isinstance(attack, OnOff) else (attack, ALWAYS)
