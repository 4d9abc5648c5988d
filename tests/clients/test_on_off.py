"""In which rounds an attack is on: OnOff around every kind of attack, and periods of schedules."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.client import NumPyClient
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.attacks import (
    BitFlip,
    Constant,
    LabelFlip,
    Omniscient,
    OnOff,
    PutAllFar,
    SignFlip,
)
from flwr_byzantine.checks import ParameterError
from flwr_byzantine.clients import (
    AttackSchedule,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
)
from flwr_byzantine.rules import Krum

FIRST = range(1, 13)


def on(schedule, **keys):
    return [number for number in FIRST if schedule.is_on(number, **keys)]


@pytest.mark.parametrize(("options", "expected"), [
    ({"period": 3}, [4, 5, 6, 10, 11, 12]),
    ({"period": 1}, [2, 4, 6, 8, 10, 12]),
    ({"period": 2, "off": 4}, [5, 6, 11, 12]),
    ({"period": 5, "off": 0}, list(FIRST)),
    ({"off": 10}, [11, 12]),
    ({"start_round": 11}, [11, 12]),
    ({"start_round": 1, "period": 2, "off": 3}, [1, 2, 6, 7, 11, 12]),
])  # fmt: skip
def test_rounds_by_hand(options, expected):
    attack = OnOff(SignFlip(), **options)
    assert on(attack) == expected
    assert on(attack.schedule, seed=5) == expected
    assert attack.attack == SignFlip()


def test_the_period_comes_after_the_attack():
    assert OnOff(SignFlip(), 3) == OnOff(SignFlip(), period=3)


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 200))
def test_a_period_repeats_itself(start, period, off, server_round):
    schedule = AttackSchedule(start, period=period, off=off)
    found = [schedule.is_on(start + number, 0) for number in range(period + off)]
    assert found == [True] * period + [False] * off
    later = start + server_round
    assert schedule.is_on(later, 0) == schedule.is_on(later + period + off, 0)
    assert not schedule.is_on(start - 1, 0)


def test_a_period_tosses_coins_in_its_own_rounds_alone():
    half = AttackSchedule(fraction=0.5, period=100)
    tossed = [half.is_on(number, 0) for number in range(1, 201)]
    assert 30 < sum(tossed[:100]) < 70
    assert sum(tossed[100:]) == 0
    assert tossed[:100] == [AttackSchedule(fraction=0.5).is_on(n, 0) for n in range(1, 101)]


class Trainer(NumPyClient):
    """A client whose update is 1, or what the attack makes of the label 0."""

    def __init__(self, number=0, label_map=None):
        self.step = np.float32(1 if label_map is None else label_map(np.array([0]))[0])

    def fit(self, parameters, config):
        return [p + self.step for p in parameters], 5, {}


WRAPPERS = {
    "local": lambda a, **kw: MaliciousClient(Trainer(), a(SignFlip()), **kw),
    "own": lambda a, **kw: MaliciousClient(Trainer(), a(lambda own, rng: own * 3), **kw),
    "colluding": lambda a, **kw: ColludingClient(
        Trainer(), a(PutAllFar()), Trainer, [0], client_id=0, **kw
    ),
    "omniscient": lambda a, **kw: OmniscientClient(
        Trainer(), a(PutAllFar()), Trainer, [0], [1], client_id=0, **kw
    ),
    "channel": lambda a, **kw: CorruptedChannelClient(
        Trainer(), a(BitFlip()), 1, client_id=0, **kw
    ),
    "labels": lambda a, **kw: LabelFlippingClient(lambda m: Trainer(0, m), a(LabelFlip()), **kw),
}


def attacked(client):
    model = [np.ones(3, np.float32)]
    sent = [client.fit(model, {"server-round": number})[0][0] for number in FIRST]
    return [number for number, row in zip(FIRST, sent, strict=True) if row.tolist() != [2, 2, 2]]


@pytest.mark.parametrize("kind", WRAPPERS)
def test_every_wrapper_attacks_in_the_rounds_of_its_attack(kind):
    make = WRAPPERS[kind]
    assert attacked(make(lambda attack: OnOff(attack, period=3))) == [4, 5, 6, 10, 11, 12]
    both = make(lambda attack: OnOff(attack, period=3), schedule=AttackSchedule(start_round=6))
    assert attacked(both) == [6, 10, 11, 12]
    assert attacked(make(lambda attack: attack, schedule=AttackSchedule(2, period=5))) == [
        2, 3, 4, 5, 6, 12
    ]  # fmt: skip


def test_a_liar_has_a_period_too():
    liar = LyingClient(Trainer(), -1, schedule=AttackSchedule(period=2))
    told = [liar.fit([np.ones(1)], {"server-round": number})[1] for number in FIRST]
    assert told == [-1, -1, 5, 5] * 3


def test_a_round_is_asked_for_where_it_is_needed():
    never_off = OnOff(Constant(), start_round=1)
    model = [np.zeros(1, np.float32)]
    assert MaliciousClient(Trainer(), never_off).fit(model, {})[0][0] == 100
    with pytest.raises(ValueError, match="should hold the round under `server-round`"):
        MaliciousClient(Trainer(), OnOff(Constant(), period=2)).fit(model, {})


def test_it_cannot_be_called_without_a_round():
    with pytest.raises(ValueError, match=r"ask `is_on\(server_round\)`"):
        OnOff(SignFlip(), period=2)(np.ones(3), np.random.default_rng(0))


@pytest.mark.parametrize(("name", "make"), [
    ("period", lambda: OnOff(SignFlip())),
    ("period", lambda: OnOff(SignFlip(), period=0)),
    ("period", lambda: OnOff(SignFlip(), period=2.5)),
    ("off", lambda: OnOff(SignFlip(), off=-1)),
    ("off", lambda: OnOff(SignFlip(), off=3, start_round=9)),
    ("start_round", lambda: OnOff(SignFlip(), start_round=-1)),
    ("attack", lambda: OnOff(OnOff(SignFlip(), 3), 3)),
    ("attack", lambda: OnOff(SignFlip, 3)),
    ("attack", lambda: OnOff(7, 3)),
    ("period", lambda: AttackSchedule(period=0)),
    ("off", lambda: AttackSchedule(off=3)),
    ("off", lambda: AttackSchedule(period=3, off=-1)),
])  # fmt: skip
def test_what_cannot_work_is_refused(name, make):
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be"):
        make()


@pytest.mark.parametrize("attack", [Krum(1), OnOff, SignFlip, "sign_flip", None], ids=repr)
def test_what_is_no_attack_is_refused(attack):
    """A rule can be called like an attack, but is refused too."""
    for make in (
        lambda: MaliciousClient(NumPyClient(), attack),
        lambda: OmniscientClient(NumPyClient(), attack, list, [0], [1], client_id=0),
        lambda: LabelFlippingClient(lambda _: NumPyClient(), attack),
    ):
        with pytest.raises(ParameterError, match=r"Parameter `\w+` should be an attack"):
            make()


@pytest.mark.parametrize(("name", "numbers"), [
    ("attackers", (0, [1])), ("attackers", (None, [1])), ("honest", ([0], 1)),
    ("honest", ([0], None)), ("honest", ([0], "1")),
])  # fmt: skip
def test_client_numbers_are_a_collection(name, numbers):
    with pytest.raises(ParameterError, match=f"Parameter `{name}` should be"):
        OmniscientClient(NumPyClient(), Omniscient(), list, *numbers, client_id=0)
