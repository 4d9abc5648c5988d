"""Attacks by name in a run: their arguments, which clients are Byzantine, and how attackers are built."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.client import NumPyClient
from hypothesis import given
from hypothesis import strategies as st

import flwr_byzantine.attacks as attacks
from flwr_byzantine.attacks import (
    Backdoor,
    BitFlip,
    LabelFlip,
    LittleIsEnough,
    Optimized,
    PutAllFar,
    RandomLabels,
)
from flwr_byzantine.clients import (
    BackdoorClient,
    ColludingClient,
    CorruptedChannelClient,
    LabelFlippingClient,
    LyingClient,
    MaliciousClient,
    OmniscientClient,
)
from flwr_byzantine.lab.names import AGAINST, BY_NAME
from flwr_byzantine.rules import Krum, Median, NearestNeighborMixing
from simulations.catalog.attacks import (
    ATTACK_NAMES,
    ATTACKS,
    MIXED,
    Lying,
    Plan,
    check_attack,
    plan_attack,
)
from simulations.catalog.placement import Participation, byzantine_clients
from simulations.federation.attackers import ChangingClient, attack_client

CHANNELS = ("bit_flip", "gambler")


class Honest(NumPyClient):
    """A client whose update is its number plus one in each coordinate, or nines with flipped labels."""

    def __init__(self, client_id, label_map=None, poison=None):
        self.client_id = client_id
        self.label_map = label_map
        self.poison = poison

    def fit(self, parameters, config):
        value = self.client_id + 1.0 if self.label_map is None else self.label_map(np.array(0))
        if self.poison is not None:
            samples, labels = self.poison(np.zeros((10, 8, 8)), np.arange(10))
            value = samples.sum() + labels.sum()
        return [p + np.float32(value) for p in parameters], 10, {"partition-id": self.client_id}


def run(**changes):
    config = {
        "attack": "sign_flip", "attack_args": {}, "attack_start": 1, "clients": 8, "byzantine": 3,
        "seed": 0, "placement": "first", "redraw": False, "payload": "parameters", "api": "message",
        "momentum": 0.0, "dataset": "digits", "data_dir": "data",
    }  # fmt: skip
    config |= {"rule": "median", "rule_args": {}, "assumed_byzantine": 3}
    settings = config | {"clients_per_round": 0} | changes
    who = Participation(
        *(settings[name] for name in ("clients", "byzantine", "seed", "placement", "redraw"))
    )
    return SimpleNamespace(**settings, who=who)


def updates(config, server_round=1, d=4):
    """Return the updates that all clients of a run send."""
    start = [np.zeros(d, dtype=np.float32)]
    clients = [attack_client(Honest, i, config) for i in range(config.clients)]
    told = {"server-round": server_round}
    return np.array([client.fit([start[0].copy()], told)[0][0] for client in clients])


HONEST = np.repeat(np.arange(1, 9, dtype=np.float32)[:, None], 4, axis=1)


# Names and arguments.


def test_every_attack_of_the_library_has_a_name():
    kinds = {getattr(attacks, name) for name in attacks.__all__}
    kinds -= {attacks.LocalAttack, attacks.ColludingAttack, attacks.ChannelAttack}
    kinds -= {attacks.ModelAttack, attacks.Remembering, attacks.OnOff}  # it is a parameter
    assert kinds <= set(ATTACKS.values())
    assert ("none", *ATTACKS, *AGAINST) == ATTACK_NAMES
    assert ATTACKS.items() >= BY_NAME.items()


def check(config):
    check_attack(config.attack, config.attack_args, config.clients, config.byzantine)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_arguments_an_attack_has_its_defaults(name):
    plan = plan_attack(name, {})
    assert plan == Plan(ATTACKS[name]())
    check(run(attack=name))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_parameter_is_an_argument(name):
    default = ATTACKS[name]()
    for field in fields(default):
        value = getattr(default, field.name)
        if value is not None and field.init:
            assert plan_attack(name, {field.name: value}).attack == default


@pytest.mark.parametrize(("name", "arguments", "expected"), [
    ("bit_flip", {"bits": "22:30:31:32", "num_coordinates": 1e3}, BitFlip()),
    ("bit_flip", {"bits": 32}, BitFlip(bits=(32,))),
    ("lie", {"num_clients": 20.0}, LittleIsEnough(num_clients=20)),
    ("lie", {"z": 2}, LittleIsEnough(z=2)),
    ("backdoor", {"position": "2:3", "shape": "8:8", "value": 2.5, "fraction": 0.25},
     Backdoor(position=(2, 3), shape=(8, 8), value=2.5, fraction=0.25)),
    ("backdoor", {"position": "top-left", "size": 2.0}, Backdoor(position="top-left", size=2)),
    ("label_flip", {"source": 5.0, "target": 3}, LabelFlip(source=5, target=3)),
    ("random_labels", {"seed": 4}, RandomLabels(seed=4)),
    ("lying", {"num_examples": 1e15}, Lying(num_examples=10**15)),
])  # fmt: skip
def test_arguments_are_read_as_people_write_them(name, arguments, expected):
    attack = plan_attack(name, arguments).attack
    assert attack == expected
    for field in fields(attack):
        assert type(getattr(attack, field.name)) is type(getattr(expected, field.name))


@pytest.mark.parametrize(("changes", "message"), [
    ({"attack": "gausian"}, "Parameter `attack` should be one of none, .*gaussian"),
    ({"attack_args": {"sigma": 1}}, "`attack_args` should be made of fraction, off, period, scale"),
    ({"attack_args": {"knows": "honest"}}, "`attack_args` should be made of fraction, off, period, scale"),
    ({"attack_args": {"fraction": 2}}, "`fraction` should be in"),
    ({"attack_args": {"boost": 2}}, "`attack_args` should be made of fraction, off, period, scale"),
    ({"attack": "label_flip", "attack_args": {"boost": "big"}}, "`boost` should be a finite number"),
    ({"attack_args": {"period": 0}}, "`period` should be a whole number of at least 1"),
    ({"attack_args": {"off": -1}}, "`off` should be a whole number of at least 0"),
    ({"attack": "label_flip", "attack_args": {"source": 1}}, "`target` should be given"),
    ({"attack": "backdoor", "attack_args": {"position": "9:x"}}, "`position` should be a whole"),
    ({"attack": "ipm", "attack_args": {"knows": "all"}}, "`knows` should be one of"),
    ({"attack": "ipm", "attack_args": {"epsilon": "0,5"}}, "`epsilon` should be a finite number"),
    ({"attack": "bit_flip", "attack_args": {"bits": "22:xx"}}, "`bits` should be a tuple"),
    ({"attack": "bit_flip", "attack_args": {"num_coordinates": 0.5}}, "`num_coordinates`"),
    ({"attack": "lying", "attack_args": {"update": "ipm"}}, "`update` should be one of honest, b"),
    ({"attack": "none", "attack_args": {"epsilon": 1}}, "`attack_args` should be empty"),
    ({"attack": "paf", "byzantine": 8}, "`byzantine` should be less than"),
    ({"attack": "lie", "byzantine": 5}, "`z` should be given"),
    ({"attack": "lie", "attack_args": {"num_clients": 4}}, "`z` should be given"),
])  # fmt: skip
def test_what_can_never_work_is_refused_with_the_configuration(changes, message):
    with pytest.raises(ValueError, match=message):
        check(run(**changes))


@pytest.mark.parametrize("changes", [
    {"attack": "none"}, {"byzantine": 8}, {"attack": "paf", "byzantine": 0},
    {"attack": "lie", "byzantine": 0},
    {"attack": "paf", "byzantine": 8, "attack_args": {"knows": "attackers"}},
    {"attack": "lie", "byzantine": 5, "attack_args": {"z": 1.5}},
])  # fmt: skip
def test_what_can_work_is_accepted(changes):
    check(run(**changes))


# Which clients are Byzantine.


@given(st.integers(1, 30), st.data())
def test_byzantine_clients_are_f_of_n(n, data):
    f = data.draw(st.integers(0, n))
    seed = data.draw(st.integers(0, 100))
    assert byzantine_clients(n, f, seed) == set(range(f))
    for redraw in (False, True):
        drawn = byzantine_clients(n, f, seed, "drawn", redraw, server_round=4)
        assert len(drawn) == f
        assert drawn <= set(range(n))
        assert drawn == byzantine_clients(n, f, seed, "drawn", redraw, server_round=4)


def test_a_draw_depends_on_the_seed_and_on_the_round_only_if_redrawn():
    def draws(**options):
        return {byzantine_clients(20, 6, server_round=r, **options) for r in range(1, 9)}

    assert len(draws(seed=0, placement="drawn")) == 1
    assert draws(seed=0, placement="drawn") != draws(seed=1, placement="drawn")
    assert len(draws(seed=0, placement="drawn", redraw=True)) == 8
    assert draws(seed=0, redraw=True) == draws(seed=0, placement="drawn", redraw=True)


@pytest.mark.parametrize(("name", "arguments"), [
    ("f", {"n": 3, "f": 4, "seed": 0}), ("f", {"n": 3, "f": -1, "seed": 0}),
    ("placement", {"n": 3, "f": 1, "seed": 0, "placement": "last"}),
])  # fmt: skip
def test_impossible_populations_are_refused(name, arguments):
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be"):
        byzantine_clients(**arguments)


# How attackers are built.


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in CHANNELS])
def test_only_byzantine_clients_misbehave(name):
    config = run(attack=name, placement="drawn")
    byzantine = byzantine_clients(8, 3, 0, "drawn")
    for i in range(8):
        client = attack_client(Honest, i, config)
        assert (type(client) is Honest) == (i not in byzantine)


@pytest.mark.parametrize("name", CHANNELS)
def test_every_client_is_behind_a_channel(name):
    clients = [attack_client(Honest, i, run(attack=name)) for i in range(8)]
    assert {type(client) for client in clients} == {CorruptedChannelClient}
    assert {type(client.client) for client in clients} == {Honest}


def test_without_an_attack_all_are_honest():
    np.testing.assert_array_equal(updates(run(attack="none")), HONEST)
    assert type(attack_client(Honest, 0, run(attack="none"))) is Honest


@pytest.mark.parametrize(("changes", "kind"), [
    ({"attack": "gaussian"}, MaliciousClient),
    ({"attack": "label_flip"}, LabelFlippingClient),
    ({"attack": "random_labels"}, LabelFlippingClient),
    ({"attack": "backdoor"}, BackdoorClient),
    ({"attack": "ofom"}, OmniscientClient),
    ({"attack": "lie", "attack_args": {"knows": "attackers"}}, ColludingClient),
    ({"attack": "lying"}, LyingClient),
    ({"redraw": True}, ChangingClient),
])  # fmt: skip
def test_each_attack_has_its_wrapper(changes, kind):
    assert type(attack_client(Honest, 2, run(**changes))) is kind


@pytest.mark.parametrize(("changes", "expected"), [
    ({"attack": "sign_flip", "attack_args": {"scale": 4}}, [-4, -8, -12]),
    ({"attack": "constant"}, [100, 100, 100]),
    ({"attack": "label_flip"}, [9, 9, 9]),
    ({"attack": "label_flip", "attack_args": {"source": 0, "target": 5}}, [5, 5, 5]),
    ({"attack": "backdoor", "attack_args": {"fraction": 1, "target": 1, "size": 2}}, [50, 50, 50]),
    ({"attack": "label_flip", "attack_args": {"boost": 3}}, [27, 27, 27]),
    ({"attack": "random_labels", "attack_args": {"num_classes": 2, "boost": 0}}, [0, 0, 0]),
    ({"attack": "backdoor", "attack_args": {"fraction": 1, "target": 1, "size": 2, "boost": True}},
     [400 / 3] * 3),
    ({"attack": "sign_flip", "attack_args": {"period": 2}}, [1, 2, 3]),
    ({"attack": "sign_flip", "attack_args": {"period": 2, "off": 0}}, [-1, -2, -3]),
    ({"attack": "omniscient", "attack_args": {"scale": 2}}, [-60, -60, -60]),  # 4 + ... + 8 = 30
    ({"attack": "ipm", "attack_args": {"epsilon": 0.5}}, [-3, -3, -3]),
    ({"attack": "ipm", "attack_args": {"epsilon": 0.5, "knows": "attackers"}}, [-1, -1, -1]),
    ({"attack": "paf"}, [106, 106, 106]),
    ({"attack": "ofom", "attack_args": {"distance": 24}}, [30, 10, 10]),
    ({"attack": "lie", "attack_args": {"z": 0}}, [6, 6, 6]),
    ({"attack": "lying"}, [1, 2, 3]),
    ({"attack": "lying", "attack_args": {"update": "sign_flip"}}, [-1, -2, -3]),
    ({"attack": "sign_flip", "attack_start": 2}, [1, 2, 3]),
    ({"attack": "sign_flip", "attack_args": {"fraction": 0}}, [1, 2, 3]),
])  # fmt: skip
def test_what_the_clients_of_a_run_send(changes, expected):
    sent = updates(run(**changes))
    np.testing.assert_allclose(
        sent[:3], np.repeat(np.array(expected)[:, None], 4, axis=1), rtol=1e-6
    )
    np.testing.assert_array_equal(sent[3:], HONEST[3:])


def test_colluders_on_their_own_are_told_how_many_clients_there_are():
    sent = updates(run(attack="lie", attack_args={"knows": "attackers"}))
    z = LittleIsEnough().deviations(8, 3)  # the own updates are 1, 2, 3: mean 2, variance 2/3
    np.testing.assert_allclose(sent[:3], np.full((3, 4), 2 - z * np.sqrt(2 / 3)), rtol=1e-6)


def test_liars_lie():
    told = {"server-round": 1}
    client = attack_client(Honest, 0, run(attack="lying", attack_args={"num_examples": -3}))
    assert client.fit([np.zeros(4, dtype=np.float32)], told)[1] == -3


def test_the_mixed_attack_deals_out_seven_attacks_in_ascending_order():
    config = run(attack="mixed", byzantine=7)
    clients = [attack_client(Honest, i, config) for i in range(8)]
    assert [getattr(client, "attack", None) for client in clients] == [*MIXED, None]
    assert len(set(MIXED)) == 7
    drawn = run(attack="mixed", clients=12, byzantine=9, placement="drawn")
    byzantine = sorted(byzantine_clients(12, 9, 0, "drawn"))
    dealt = [attack_client(Honest, i, drawn).attack for i in byzantine]
    assert dealt == [*MIXED, *MIXED[:2]]


def test_redrawn_attackers_change_from_round_to_round():
    config = run(redraw=True, attack_start=2)
    np.testing.assert_array_equal(updates(config, server_round=1), HONEST)
    for server_round in (2, 3, 4):
        flipped = updates(config, server_round)[:, 0] < 0
        drawn = byzantine_clients(8, 3, 0, "first", True, server_round)
        assert set(np.flatnonzero(flipped)) == drawn


def test_redrawn_attackers_know_the_honest_clients_of_the_round():
    config = run(attack="paf", attack_args={"distance": 0}, redraw=True)
    drawn = byzantine_clients(8, 3, 0, "first", True, server_round=5)
    honest = HONEST[[i for i in range(8) if i not in drawn]].mean()
    sent = updates(config, server_round=5)
    np.testing.assert_allclose(sent[sorted(drawn)], np.full((3, 4), honest), rtol=1e-6)


def test_gradients_are_attacked_as_they_are():
    class Gradient(Honest):
        def fit(self, parameters, config):
            return [np.ones(4, dtype=np.float32)], 1, {}

    client = attack_client(Gradient, 0, run(payload="gradients"))
    sent, _, _ = client.fit([np.full(4, 5, dtype=np.float32)], {"server-round": 1})
    np.testing.assert_array_equal(sent, [[-1] * 4])


def test_a_new_kind_of_attack_is_refused_until_it_is_registered():
    from simulations.federation.attackers import AttackedClient, behave

    attacked = AttackedClient(Honest, 0, run(), Plan(object()))
    with pytest.raises(TypeError, match="Register one with `behave`"):
        behave(object(), attacked, frozenset({0}))
    assert isinstance(behave(PutAllFar(), attacked, frozenset({0})), OmniscientClient)


@pytest.mark.parametrize(("arguments", "start", "expected"), [
    ({"period": 2}, 1, [3, 4, 7, 8]),
    ({"period": 2}, 3, [5, 6, 9]),
    ({"period": 2, "off": 1}, 1, [2, 3, 5, 6, 8, 9]),
    ({"off": 6}, 1, [7, 8, 9]),
    ({}, 8, [8, 9]),
])  # fmt: skip
@pytest.mark.parametrize("name", ["sign_flip", "lying", "mixed", "paf", "label_flip", "bit_flip"])
def test_attackers_of_a_run_behave_well_then_attack(name, arguments, start, expected):
    config = run(attack=name, attack_args=arguments, attack_start=start)
    clients = [attack_client(Honest, i, config) for i in range(config.clients)]
    found = []
    for number in range(1, 10):
        told, model = {"server-round": number}, [np.zeros(4, dtype=np.float32)]
        sent = [client.fit([model[0].copy()], told) for client in clients]
        honest = [Honest(i).fit(model, told) for i in range(config.clients)]
        if any(
            a[0][0].tolist() != b[0][0].tolist() or a[1] != b[1]
            for a, b in zip(sent, honest, strict=True)
        ):
            found.append(number)
    assert found == expected


def test_optimized_attacks_by_their_short_names():
    for family in ("lie", "ipm"):
        plan = plan_attack("optimized", {"attack": family, "against": "krum:2"})
        assert plan_attack(f"opt_{family}", {"against": "krum:2"}) == plan
        with pytest.raises(ValueError, match="Parameter `attack_args` should be made of against"):
            plan_attack(f"opt_{family}", {"attack": "ipm"})


def test_optimized_is_made_for_the_rule_of_the_run():
    assert plan_attack("optimized", {"against": "nnm+krum:2"}).attack.against == (
        NearestNeighborMixing(2) >> Krum(2)
    )
    expected = Optimized("lie", against=Median())(HONEST[3:], 3, np.random.default_rng(0))
    sent = updates(run(attack="optimized"))
    np.testing.assert_allclose(sent[:3], expected)
    with pytest.raises(ValueError, match="`against` should be a rule and f"):
        plan_attack("optimized", {"against": "krum:x"})
