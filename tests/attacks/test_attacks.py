"""Attacks: exact values that were computed by hand, and properties of all attacks."""

from __future__ import annotations

import ast
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import flwr_byzantine.attacks as attacks
from flwr_byzantine.attacks import (
    Backdoor,
    BitFlip,
    Boost,
    Constant,
    FreeRider,
    Gambler,
    Gaussian,
    InnerProductManipulation,
    LabelFlip,
    LittleIsEnough,
    Mimic,
    MinMax,
    MinSum,
    Omniscient,
    OneFarOneMean,
    OnOff,
    Optimized,
    PoisonedFL,
    PutAllFar,
    RandomSignFlip,
    SignFlip,
)
from flwr_byzantine.attacks.bits import flip_bits
from flwr_byzantine.checks import ParameterError
from flwr_byzantine.rules import Krum

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

LOCAL = [
    Gaussian(),
    SignFlip(),
    RandomSignFlip(),
    Constant(),
    Boost(3),
    FreeRider(),
    FreeRider(0.1),
]
COLLUDING = [
    Omniscient(),
    InnerProductManipulation(),
    LittleIsEnough(),
    LittleIsEnough(z=2),
    OneFarOneMean(),
    PutAllFar(),
    *(MinMax(direction) for direction in ("unit", "sign", "std")),
    *(MinSum(direction) for direction in ("unit", "sign", "std")),
    MinSum(bound="min"),
    Mimic(client=0),
]
CHANNELS = [BitFlip(), Gambler(probability=0.5)]

HONEST = np.array([[1, 10], [2, 20], [3, 60]], dtype=np.float32)  # mean (2, 30), sum (6, 90)


def rng(seed=0):
    return np.random.default_rng(seed)


# Exact values, computed by hand.


@pytest.mark.parametrize(("attack", "expected"), [
    (SignFlip(), [-1, 2, -0.5]),
    (SignFlip(scale=4), [-4, 8, -2]),
    (Constant(), [100, 100, 100]),
    (Constant(value=-3), [-3, -3, -3]),
    (RandomSignFlip(mean=-2, std=0), [-2, 4, -1]),
    (Gaussian(std=0), [0, 0, 0]),
    (FreeRider(), [0, 0, 0]),
    (Boost(num_clients=10, num_attackers=4), [2.5, -5, 1.25]),
    (Boost(num_clients=10), [10, -20, 5]),
    (Boost(scale=-2), [-2, 4, -1]),
])  # fmt: skip
def test_local_values(attack, expected):
    own = np.array([1, -2, 0.5], dtype=np.float32)
    np.testing.assert_array_equal(attack(own, rng()), np.array(expected, dtype=np.float32))


@pytest.mark.parametrize(("attack", "expected"), [
    (Omniscient(), [[-6e20, -90e20]] * 2),
    (Omniscient(scale=2), [[-12, -180]] * 2),
    (InnerProductManipulation(epsilon=0.5), [[-1, -15]] * 2),
    (InnerProductManipulation(epsilon=-10), [[20, 300]] * 2),
    (InnerProductManipulation(epsilon=0), [[0, 0]] * 2),
    (PutAllFar(), [[102, 130]] * 2),
    (OneFarOneMean(), [[102, 130], [108 / 4, 220 / 4]]),
    (OneFarOneMean(distance=-2), [[0, 28], [6 / 4, 118 / 4]]),
])  # fmt: skip
def test_colluding_values(attack, expected):
    sent = attack(HONEST, 2, rng())
    np.testing.assert_array_equal(sent, np.array(expected, dtype=np.float32))


def test_one_far_one_mean_sends_one_far_and_else_means():
    sent = OneFarOneMean(distance=4)(HONEST, 4, rng())
    np.testing.assert_array_equal(sent, [[6, 34], [3, 31], [3, 31], [3, 31]])
    np.testing.assert_array_equal(OneFarOneMean(distance=4)(HONEST, 1, rng()), [[6, 34]])


def test_little_is_enough_moves_the_mean_by_z_deviations():
    honest = np.array([[1.0, 0, 5], [3.0, 0, 5]])  # mean (2, 0, 5), deviation (1, 0, 0)
    sent = LittleIsEnough(z=1.5)(honest, 3, rng())
    np.testing.assert_array_equal(sent, [[0.5, 0, 5]] * 3)


def test_random_sign_flip_draws_one_factor_for_the_whole_update():
    own = np.array([1.0, 2.0, -4.0])
    factors = np.array([RandomSignFlip()(own, rng(seed)) / own for seed in range(2000)])
    assert np.ptp(factors, axis=1).max() < 1e-12
    assert factors.mean() == pytest.approx(-2, abs=0.1)
    assert factors.std() == pytest.approx(1, abs=0.1)


def test_gaussian_has_the_deviation_and_forgets_the_update():
    sent = Gaussian()(np.full(50_000, 1e6, dtype=np.float32), rng())
    assert sent.mean() == pytest.approx(0, abs=5)
    assert sent.std() == pytest.approx(200, rel=0.02)


def test_label_flip_counts_from_the_other_end():
    labels = np.arange(10, dtype=np.uint8)
    flipped = LabelFlip()(labels)
    np.testing.assert_array_equal(flipped, np.arange(9, -1, -1))
    assert flipped.dtype == np.uint8
    np.testing.assert_array_equal(LabelFlip().flip(flipped), labels)
    np.testing.assert_array_equal(
        LabelFlip(num_classes=3)(np.array([[0, 1], [2, 0]])), [[2, 1], [0, 2]]
    )
    assert LabelFlip()(np.array([], dtype=np.int64)).size == 0


@pytest.mark.parametrize("labels", [np.array([0, 10]), np.array([-1]), np.array([1.0])])
def test_label_flip_refuses_labels_of_other_classes(labels):
    with pytest.raises(ValueError, match="whole numbers from 0 to 9"):
        LabelFlip()(labels)


# A Little Is Enough: the factor z.


def normal_quantile(p):
    """The inverse of the normal distribution function, by bisection of the function, written with erf."""
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < p:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize(("n", "f", "numerator", "denominator", "rounded"), [
    (20, 4, 9, 16, 0.157),  # s = 11 - 4 = 7 of h = 16
    (25, 11, 12, 14, 1.068),  # s = 13 - 11 = 2 of h = 14
    (51, 24, 25, 27, 1.446),  # s = 26 - 24 = 2 of h = 27
])  # fmt: skip
def test_little_is_enough_z_is_the_closed_form(n, f, numerator, denominator, rounded):
    z = LittleIsEnough().deviations(n, f)
    assert z == pytest.approx(normal_quantile(numerator / denominator), abs=1e-12)
    assert round(z, 3) == rounded
    honest = rng().normal(size=(n - f, 5))
    expected = honest.mean(axis=0) - z * honest.std(axis=0)
    np.testing.assert_allclose(LittleIsEnough()(honest, f, rng()), [expected] * f)


@pytest.mark.parametrize(("n", "f"), [(8, 5), (8, 6), (3, 2), (2, 1), (2, 0), (1, 0), (10, 6)])
def test_little_is_enough_says_when_there_is_no_z(n, f):
    with pytest.raises(ValueError, match=rf"not in \(0, 1\).*`n = {n}`.*`f = {f}`.*z=1.5"):
        LittleIsEnough().deviations(n, f)
    assert LittleIsEnough(z=1.5).deviations(n, f) == 1.5


def test_little_is_enough_is_told_of_clients_it_does_not_know():
    own = rng().normal(size=(4, 3))
    z = LittleIsEnough().deviations(20, 4)
    expected = own.mean(axis=0) - z * own.std(axis=0)
    np.testing.assert_allclose(LittleIsEnough(num_clients=20)(own, 4, rng()), [expected] * 4)


# Channels.


def flip_by_hand(value, bits):
    """Flip bits of a float32 with `struct` and integers only."""
    (pattern,) = struct.unpack("<I", struct.pack("<f", value))
    for bit in bits:
        pattern ^= 1 << (bit - 1)
    return struct.unpack("<f", struct.pack("<I", pattern))[0]


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=20),
    st.sets(st.integers(1, 32)).map(tuple),
)
def test_bits_flip_as_in_the_struct_module(values, bits):
    values = np.array(values, dtype=np.float32)
    flipped = flip_bits(values, bits)
    expected = np.array([flip_by_hand(value, bits) for value in values], dtype=np.float32)
    # Bits are compared, because NaN differs from itself. `struct` may not keep all bits of a NaN.
    real = ~np.isnan(values) & ~np.isnan(expected)
    np.testing.assert_array_equal(flipped.view(np.uint32)[real], expected.view(np.uint32)[real])
    np.testing.assert_array_equal(flip_bits(flipped, bits).view(np.uint32), values.view(np.uint32))


@pytest.mark.parametrize(("value", "bits", "expected"), [
    (1.5, (32,), -1.5),  # the sign bit
    (1.0, (24,), 0.5),  # the last bit of the exponent: 127 becomes 126
    (1.0, (23,), 1.5),  # the first bit of the fraction
    (1.0, (1,), 1 + 2.0**-23),  # the last bit of the fraction
    (0.0, (22, 30, 31, 32), -1.25 * 2.0**65),  # exponent 128 + 64 - 127, fraction 1/4
    (1.0, (22, 30, 31, 32), -1.25 * 2.0**64),  # exponent 127 + 128 - 64 - 127
])  # fmt: skip
def test_bits_flip_by_hand(value, bits, expected):
    channel = BitFlip(bits=bits)
    for dtype in (np.float32, np.float64):
        arrived = channel(np.array([value], dtype=dtype), 0, 1, 1)
        assert arrived[0] == expected
        assert arrived.dtype == dtype


def test_bit_flip_hits_one_client_in_each_of_the_first_coordinates():
    n, d = 7, 40
    sent = np.ones((n, d), dtype=np.float32)
    channel = BitFlip(num_coordinates=30)
    arrived = np.array([channel(sent[i], i, n, server_round=5, seed=3) for i in range(n)])
    np.testing.assert_array_equal((arrived != sent).sum(axis=0), [1] * 30 + [0] * 10)
    assert (arrived[arrived != sent] == np.float32(-1.25 * 2.0**64)).all()
    victims = (arrived != sent).argmax(axis=0)[:30]
    np.testing.assert_array_equal(victims, channel.victims(n, 5, 3))
    assert len(set(victims)) > 1  # the coordinates do not all hit the same client
    assert (victims != channel.victims(n, 6, 3)).any()
    assert (victims != channel.victims(n, 5, 4)).any()


def test_bit_flip_ends_where_the_update_ends():
    arrived = BitFlip(bits=(32,))(np.ones(3), 0, 1, 1)
    np.testing.assert_array_equal(arrived, [-1, -1, -1])


def test_bit_flip_of_float64_changes_only_what_it_hits():
    sent = rng().normal(size=50)
    arrived = BitFlip(num_coordinates=20)(sent, 1, 4, 1)
    hit = BitFlip(num_coordinates=20).victims(4, 1) == 1
    np.testing.assert_array_equal(arrived[20:], sent[20:])
    np.testing.assert_array_equal(arrived[:20][~hit], sent[:20][~hit])
    expected = [flip_by_hand(value, (22, 30, 31, 32)) for value in sent[:20][hit]]
    np.testing.assert_array_equal(arrived[:20][hit], expected)


@given(st.integers(0, 200), st.integers(1, 25), st.integers(0, 5))
def test_gambler_shares_are_those_of_array_split(d, num_servers, seed):
    parts = np.array_split(np.arange(d), num_servers)
    for server in range(num_servers):
        share = Gambler(num_servers=num_servers, server=server).share(d)
        np.testing.assert_array_equal(np.arange(d)[share], parts[server])
    drawn = np.arange(d)[Gambler(num_servers=num_servers).share(d, seed)]
    assert any(np.array_equal(drawn, part) for part in parts)


def test_gambler_multiplies_values_of_one_server_with_its_probability():
    sent = np.ones(200_000, dtype=np.float32)
    channel = Gambler(num_servers=2, probability=0.01, server=1)
    arrived = channel(sent, client=3, num_clients=5, server_round=1, seed=0)
    hit = arrived != sent
    assert not hit[:100_000].any()
    assert hit[100_000:].mean() == pytest.approx(0.01, rel=0.1)
    assert (arrived[hit] == np.float32(-1e20)).all()
    for other in [(4, 5, 1, 0), (3, 5, 2, 0), (3, 5, 1, 1)]:  # another client, round or seed
        assert (channel(sent, *other) != arrived).any()


def test_gambler_attacks_one_server_in_all_rounds():
    channel = Gambler(num_servers=10, probability=1)
    hit = [channel(np.ones(100), 0, 5, r, seed=8) != 1 for r in range(1, 6)]
    assert (np.array(hit) == hit[0]).all()
    assert hit[0].sum() == 10


# Properties of all attacks.


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("attack", LOCAL, ids=repr)
def test_local_attacks_keep_shape_and_precision(attack, dtype):
    own = rng().normal(size=9).astype(dtype)
    before = own.copy()
    sent = attack(own, rng(1))
    assert (sent.shape, sent.dtype) == (own.shape, own.dtype)
    np.testing.assert_array_equal(own, before)
    np.testing.assert_array_equal(sent, attack(own, rng(1)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("attack", COLLUDING, ids=repr)
def test_colluding_attacks_keep_shape_and_precision(attack, dtype):
    honest = rng().normal(size=(5, 9)).astype(dtype)
    before = honest.copy()
    sent = attack(honest, 3, rng(1))
    assert (sent.shape, sent.dtype) == ((3, 9), dtype)
    np.testing.assert_array_equal(honest, before)
    np.testing.assert_array_equal(sent, attack(honest, 3, rng(2)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("attack", CHANNELS, ids=repr)
def test_channels_keep_shape_and_precision(attack, dtype):
    values = rng().normal(size=100).astype(dtype)
    before = values.copy()
    arrived = attack(values, 1, 3, 2, 4)
    assert (arrived.shape, arrived.dtype) == (values.shape, values.dtype)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(arrived, attack(values, 1, 3, 2, 4))
    assert (arrived != values).any()


@given(arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_nothing_warns_whatever_the_updates(honest):
    for attack in COLLUDING:
        attack(honest, 2, rng())
    for attack in LOCAL:
        attack(honest[0], rng())
    for channel in CHANNELS:
        channel(honest[0], 0, 1, 1)


@given(st.permutations(range(5)))
def test_colluding_attacks_do_not_depend_on_the_order_of_the_honest(order):
    honest = rng().normal(size=(5, 4))
    for attack in COLLUDING[:-1]:  # the last attack copies one row, so it depends on the order
        np.testing.assert_allclose(attack(honest[order], 2, rng()), attack(honest, 2, rng()))


@pytest.mark.parametrize("honest", [np.empty((0, 3)), np.ones(3), np.ones((2, 2), dtype=int)])
@pytest.mark.parametrize("attack", COLLUDING, ids=repr)
def test_colluding_attacks_say_what_they_need(attack, honest):
    with pytest.raises(ValueError, match=r"Parameter `honest` should be a matrix \(h, d\)"):
        attack(honest, 2, rng())
    with pytest.raises(ValueError, match="Parameter `num_attackers`"):
        attack(HONEST, 0, rng())


@pytest.mark.parametrize("attack", [*LOCAL, lambda own, _: BitFlip()(own, 0, 1, 1)])
def test_updates_are_floating_point(attack):
    with pytest.raises(ValueError, match="Parameter `own` should be an array of floating-point"):
        attack(np.array([1, 2]), rng())


@pytest.mark.parametrize(("attack", "arguments"), [
    (Gaussian, {"std": -1}), (Gaussian, {"std": float("nan")}), (Gaussian, {"std": "wide"}),
    (SignFlip, {"scale": float("inf")}), (RandomSignFlip, {"mean": float("nan")}),
    (RandomSignFlip, {"std": -0.1}), (Constant, {"value": None}), (Constant, {"value": True}),
    (LabelFlip, {"num_classes": 1}), (LabelFlip, {"num_classes": 2.0}),
    (Omniscient, {"scale": "big"}), (InnerProductManipulation, {"epsilon": float("nan")}),
    (LittleIsEnough, {"z": float("inf")}), (LittleIsEnough, {"num_clients": 1}),
    (Boost, {"scale": float("inf")}), (Boost, {"num_clients": 0}), (Boost, {"num_attackers": 0}),
    (FreeRider, {"std": -1}), (FreeRider, {"std": "wide"}), (MinMax, {"direction": "up"}),
    (MinSum, {"direction": None}), (MinSum, {"bound": "mean"}), (Mimic, {"warmup": 0}),
    (Mimic, {"client": -1}), (PoisonedFL, {"scale": 0}), (PoisonedFL, {"decay": 1.5}),
    (PoisonedFL, {"period": 0}), (PoisonedFL, {"significance": 1}), (PoisonedFL, {"smallest": -1}),
    (OneFarOneMean, {"distance": "far"}), (PutAllFar, {"distance": float("nan")}),
    (BitFlip, {"num_coordinates": -1}), (BitFlip, {"bits": (0,)}), (BitFlip, {"bits": (33,)}),
    (BitFlip, {"bits": (3, 3)}), (BitFlip, {"bits": [3]}), (BitFlip, {"bits": ("x",)}),
    (Gambler, {"num_servers": 0}), (Gambler, {"probability": 1.5}), (Gambler, {"scale": "c"}),
    (MinMax, {"direction": MinMax}), (Mimic, {"warmup": "1"}), (FreeRider, {"std": SignFlip}),
    (OnOff, {"attack": Krum(1)}), (OnOff, {"attack": SignFlip}), (Backdoor, {"trigger": SignFlip}),
    (Gambler, {"probability": "p"}), (Gambler, {"server": -1}), (Gambler, {"server": 20}),
])  # fmt: skip
def test_parameters_out_of_bounds_are_refused(attack, arguments):
    ((name, _),) = arguments.items()
    with pytest.raises(
        ValueError, match=rf"Parameter `{name}` should be .*Found `{name} = .*\. \w"
    ):
        attack(**arguments)


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None, True])
@pytest.mark.parametrize("attack", [*COLLUDING, Optimized(against=Krum(1))], ids=repr)
def test_the_number_of_attackers_is_a_whole_number(attack, number):
    expected = "Parameter `num_attackers` should be a whole number of at least 1"
    with pytest.raises(ParameterError, match=expected):
        attack(HONEST, number, rng())


@pytest.mark.parametrize("seed", [0, None, "0"])
@pytest.mark.parametrize("attack", [Gaussian(), RandomSignFlip(), FreeRider(1), PoisonedFL()])
def test_a_seed_is_no_generator(attack, seed):
    with pytest.raises(ParameterError, match="Parameter `rng` should be a numpy Generator"):
        attack(HONEST[0], seed)
    with pytest.raises(ParameterError, match="Parameter `rng` should be a numpy Generator"):
        Mimic()(HONEST, 1, seed)


def test_an_array_is_no_number_of_rounds():
    with pytest.raises(ParameterError, match="Parameter `period` should be a whole number"):
        OnOff(SignFlip(), period=np.array([1, 2]))


def test_attacks_are_values():
    assert SignFlip(4) == SignFlip(scale=4)
    assert len({SignFlip(), SignFlip(), Omniscient(), BitFlip(), BitFlip()}) == 3
    with pytest.raises(AttributeError):
        SignFlip().scale = 2


def test_the_maths_needs_numpy_and_nothing_else():
    allowed = {"__future__", "abc", "collections", "dataclasses", "functools", "math", "numpy"}
    allowed |= {"logging", "operator", "statistics", "sys", "typing"}
    for path in Path(attacks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            assert {name.split(".")[0] for name in names} <= allowed, path.name
