"""The auxiliary loss of a PyTorch model: its gradient, its minibatches, and tensors without a gradient."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from flwr_byzantine.reputation.auxiliary import TorchAuxiliaryLoss

pytestmark = pytest.mark.torch


def samples(n=12, features=4, classes=3):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, features, generator=rng)
    return TensorDataset(x, torch.randint(classes, (n,), generator=rng))


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)
    )


def arrays(model):
    return [tensor.numpy().copy() for tensor in model.state_dict().values()]


def make(model=None, **settings):
    return TorchAuxiliaryLoss(model or network(), functional.cross_entropy, samples(), **settings)


def test_equals_autograd():
    model, data = nn.Linear(4, 3), samples()
    auxiliary = make(model)
    loss = functional.cross_entropy(model(data.tensors[0]), data.tensors[1])
    expected = torch.autograd.grad(loss, list(model.parameters()))
    found = auxiliary(arrays(model), 1)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6)
        assert mine.dtype == np.float32
    assert auxiliary.loss(arrays(model), 1) == pytest.approx(loss.item())


def test_gradient_of_the_loss_with_batch_norm():
    """In float64, against differences of the loss. Gradient and loss have to belong to one function."""
    model = network().double()
    data = TensorDataset(samples().tensors[0].double(), samples().tensors[1])
    auxiliary = TorchAuxiliaryLoss(model, functional.cross_entropy, data, batch_size=6)
    at = arrays(model)
    gradient = auxiliary(at, 3)
    for t, step in ((0, 1e-6), (2, 1e-6), (7, 1e-6)):
        ahead = [array.copy() for array in at]
        ahead[t].flat[1] += step
        slope = (auxiliary.loss(ahead, 3) - auxiliary.loss(at, 3)) / step
        assert gradient[t].flat[1] == pytest.approx(slope, abs=1e-5)


def test_buffers_have_no_gradient_and_nothing_is_changed():
    model = network()
    before = arrays(model)
    given = [array.copy() for array in before]
    for array in given:
        array.flags.writeable = False
    auxiliary = make(model)
    gradient = auxiliary(given, 1)
    names = dict(zip(model.state_dict(), gradient, strict=True))
    assert [name for name, array in names.items() if array is None] == [
        "1.running_mean", "1.running_var", "1.num_batches_tracked",
    ]  # fmt: skip
    assert all(a.shape == b.shape for a, b in zip(gradient, before, strict=True) if a is not None)
    for mine, theirs in zip(arrays(model) + given, before + before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert model.training


def test_frozen_parameters_have_no_gradient():
    model = network()
    model[0].weight.requires_grad_(False)
    gradient = make(model)(arrays(model), 1)
    assert gradient[0] is None
    assert gradient[1] is not None


def test_shared_weights_get_the_whole_gradient():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x))

    model = Tied()
    x, y = samples().tensors
    expected = torch.autograd.grad(functional.cross_entropy(model(x), y), model.first.weight)[0]
    found = make(model)(arrays(model), 1)
    for gradient in found:
        np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-5, atol=1e-7)


def test_minibatch_depends_on_seed_and_round_alone():
    at = arrays(network())
    auxiliary = make(batch_size=5)
    first = [auxiliary.loss(at, t) for t in range(1, 6)]
    assert len(set(first)) > 1
    assert [auxiliary.loss(at, t) for t in (5, 4, 3, 2, 1)] == first[::-1]
    assert [make(batch_size=5).loss(at, t) for t in range(1, 6)] == first
    assert [make(batch_size=5, seed=1).loss(at, t) for t in range(1, 6)] != first
    assert len({make().loss(at, t) for t in range(1, 6)}) == 1


def test_no_global_random_number_is_drawn():
    auxiliary, at = make(batch_size=5), arrays(network())
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    auxiliary(at, 1)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


@pytest.mark.parametrize("batch_size", [0, -1, 13, True])
def test_refuses_batch_sizes(batch_size):
    with pytest.raises(
        ValueError, match=r"Parameter `batch_size` should be .*Found `batch_size = "
    ):
        make(batch_size=batch_size)


def test_refuses_an_empty_data_set():
    with pytest.raises(ValueError, match="Parameter `dataset` should hold at least one sample"):
        TorchAuxiliaryLoss(network(), functional.cross_entropy, TensorDataset(torch.empty(0)))


@pytest.mark.parametrize("wrong", [[], [np.zeros((3, 4))], [np.zeros((3, 4)), np.zeros((3, 1))]])
def test_refuses_tensors_of_another_model(wrong):
    with pytest.raises(ValueError, match="Parameter `parameters` should have the shapes"):
        make(nn.Linear(4, 3))(wrong, 1)


def test_the_library_does_not_import_torch():
    code = (
        "import sys, flwr_byzantine, flwr_byzantine.serverapp, flwr_byzantine.reputation.auxiliary;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
