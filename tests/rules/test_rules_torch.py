"""Torch tensors go in, and a torch tensor comes out."""

import numpy as np
import pytest
from cases import every_rule, gaussian

from flwr_byzantine.rules import Mean, Median
from flwr_byzantine.rules.inputs import as_columns

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@every_rule
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [(torch.float32, 1e-6), (torch.float64, 1e-12), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)],
)
@pytest.mark.parametrize("given_as", [lambda x: x, list, lambda x: x.requires_grad_()])
def test_tensors_give_a_tensor_of_their_kind(case, device, dtype, rtol, given_as):
    x = torch.from_numpy(gaussian(case.enough(1) + 1, 30)).to(device, dtype)
    result = case.make(1)(given_as(x))
    assert (result.dtype, result.device.type, result.requires_grad) == (dtype, device, False)
    expected = case.reference(x.detach().cpu().double().numpy(), 1)
    np.testing.assert_allclose(result.cpu().double().numpy(), expected, rtol=rtol)


def test_whole_numbers_give_float64():
    result = Mean()(torch.tensor([[1, 2], [3, 4], [8, 6]]))
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result.numpy(), [4, 4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cpu_tensors_share_memory(dtype):
    x = torch.zeros(4, 100, dtype=dtype)
    for updates in (x, list(x), [row.clone() for row in x]):
        columns, _ = as_columns(updates)
        for row, values in zip(updates, columns.segments[0], strict=True):
            assert row.data_ptr() == values.ctypes.data


def test_tensor_of_another_shape_raises():
    for shape in [(9,), (9, 2, 2)]:
        with pytest.raises(ValueError, match="shape"):
            Median()(torch.zeros(shape))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_lists_may_hold_tensors_beside_arrays(first):
    x = np.array([[1, 5], [2, 6], [4, 9]], np.float32)
    rows = [x[0], torch.from_numpy(x[1]).requires_grad_(), torch.from_numpy(x[2]).bfloat16()]
    for updates in (rows[first:] + rows[:first], iter(rows[first:] + rows[:first])):
        result = Median()(updates)
        assert isinstance(result, torch.Tensor) == (first > 0)
        np.testing.assert_array_equal(
            np.asarray(result, dtype=np.float32) if first == 0 else result.float().numpy(), [2, 6]
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.to(torch.float8_e5m2), lambda x: x.to_sparse(), lambda x: x.to("meta"),
        lambda x: x.to(torch.complex32),
    ],
    ids=["float8", "sparse", "meta", "complex32"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_cannot_be_read_raises_in_plain_words(make):
    with pytest.raises(ValueError, match=r"Convert it to torch\.float32"):
        Median()(make(torch.ones(3, 2)))


def test_a_tensor_that_is_negated_when_it_is_read():
    x = torch.view_as_complex(torch.ones(3, 2, 2)).conj().imag
    np.testing.assert_array_equal(Median()(x).numpy(), [-1, -1])
