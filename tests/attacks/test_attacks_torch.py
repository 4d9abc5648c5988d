"""Attacks on tensors give the numbers of numpy, in the caller's type of tensor."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from flwr_byzantine.attacks import (
    BitFlip,
    Boost,
    Constant,
    FreeRider,
    Gambler,
    Gaussian,
    InnerProductManipulation,
    LittleIsEnough,
    Mimic,
    MinMax,
    MinSum,
    Omniscient,
    OneFarOneMean,
    PoisonedFL,
    PutAllFar,
    RandomSignFlip,
    SignFlip,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")

LOCAL = [Gaussian(), SignFlip(0.3), RandomSignFlip(), Constant(), Boost(2.5), FreeRider(0.1)]
COLLUDING = [
    *(Omniscient(3), InnerProductManipulation(0.3), LittleIsEnough(1.5), OneFarOneMean()),
    *(PutAllFar(), MinMax(), MinMax("std"), MinSum("sign"), Mimic(), Mimic(client=2)),
]
CHANNELS = [BitFlip(bits=(24, 32)), Gambler(probability=0.5, scale=2)]
TYPES = ["float16", "bfloat16", "float32", "float64"]


def fresh(attack):
    return attack.fresh() if hasattr(attack, "fresh") else attack


def rng():
    return np.random.default_rng(0)


def call(attack, values):
    """Any attack on its first argument."""
    attack = fresh(attack)
    if attack in CHANNELS:
        return attack(values, 1, 3, 2, 4)
    if attack in COLLUDING:
        return attack(values, 3, rng())
    if isinstance(attack, PoisonedFL):
        attack(values * 0, rng())
    return attack(values, rng())


def given(attack, dtype, **how):
    shape = (5, 40) if attack in COLLUDING else (40,)
    return torch.from_numpy(rng().normal(size=shape)).to(getattr(torch, dtype), **how)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("attack", [*LOCAL, *COLLUDING, *CHANNELS, PoisonedFL()], ids=repr)
def test_tensors_give_the_numbers_of_numpy(attack, dtype, requires_grad):
    values = given(attack, dtype).requires_grad_(requires_grad)
    before = values.detach().clone()
    sent = call(attack, values)
    assert (type(sent), sent.dtype, sent.device) == (torch.Tensor, values.dtype, values.device)
    assert not sent.requires_grad
    assert sent.grad_fn is None
    assert torch.equal(values.detach(), before)
    plain = before.numpy() if dtype == "float64" else before.float().numpy()
    expected = torch.from_numpy(np.array(call(attack, plain))).to(values.dtype)
    assert torch.equal(sent, expected)
    sent.add_(1)  # the result shares no memory with the input
    assert torch.equal(values.detach(), before)


@pytest.mark.parametrize("attack", COLLUDING, ids=repr)
def test_the_honest_may_be_a_list(attack):
    values = given(attack, "float32")
    expected = call(attack, values.numpy())
    for rows in (list(values), tuple(values), [values[0].numpy(), *values[1:]]):
        sent = call(attack, rows)
        assert isinstance(sent, torch.Tensor) == isinstance(rows[0], torch.Tensor)
        np.testing.assert_array_equal(np.asarray(sent), expected)
    np.testing.assert_array_equal(call(attack, list(values.numpy())), expected)


@pytest.mark.parametrize("attack", COLLUDING, ids=repr)
def test_half_precision_of_numpy_is_computed_in_single(attack):
    values = given(attack, "float16")
    sent = call(attack, values.numpy())
    assert sent.dtype == np.float16
    np.testing.assert_array_equal(sent, call(attack, values).numpy())
    if not isinstance(attack, OneFarOneMean):
        assert sent.strides[0] == 0


def test_whole_numbers_and_ragged_lists_are_refused():
    with pytest.raises(ValueError, match="`own` should be an array of floating-point"):
        SignFlip()(torch.ones(3, dtype=torch.int64), rng())
    for honest in ([torch.ones(3), torch.ones(2)], torch.ones(3), [np.ones(3), np.ones(2)], []):
        with pytest.raises(ValueError, match=r"`honest` should be a matrix \(h, d\)"):
            MinMax()(honest, 1, rng())
    with pytest.raises(ValueError, match="dense tensors of real numbers"):
        SignFlip()(torch.ones(3).to_sparse(), rng())


def test_attacks_load_neither_torch_nor_flower():
    code = "import sys, flwr_byzantine.attacks; print({'torch', 'flwr'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
