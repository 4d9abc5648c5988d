"""Attacks on data: exact values by hand, and properties for every type of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flwr_byzantine.attacks import Backdoor, LabelFlip, RandomLabels
from flwr_byzantine.attacks.labels import STREAM

LABELS = np.array([0, 1, 2, 1, 9, 5])


def rng(seed=0):
    return np.random.default_rng(seed)


def torch():
    return pytest.importorskip("torch")


# Labels.


@given(st.integers(2, 12), st.data())
def test_a_source_becomes_the_target_and_the_rest_stays(num_classes, data):
    source = data.draw(st.integers(0, num_classes - 1))
    target = data.draw(st.integers(0, num_classes - 1).filter(lambda value: value != source))
    labels = np.array(data.draw(st.lists(st.integers(0, num_classes - 1))), dtype=np.int64)
    flipped = LabelFlip(num_classes, source=source, target=target)(labels)
    assert flipped.tolist() == [target if label == source else label for label in labels.tolist()]
    assert flipped.dtype == labels.dtype


@pytest.mark.parametrize(("name", "make"), [
    ("source", lambda: LabelFlip(target=1)),
    ("target", lambda: LabelFlip(source=1)),
    ("source", lambda: LabelFlip(source=10, target=1)),
    ("target", lambda: LabelFlip(source=1, target=-1)),
    ("target", lambda: LabelFlip(source=1, target=1.0)),
    ("target", lambda: LabelFlip(source=3, target=3)),
    ("num_classes", lambda: RandomLabels(1)),
    ("seed", lambda: RandomLabels(seed=-1)),
    ("labels", lambda: LabelFlip(3, source=0, target=1)(LABELS)),
    ("labels", lambda: RandomLabels(3)(LABELS)),
    ("labels", lambda: RandomLabels()(LABELS / 2)),
    ("labels", lambda: RandomLabels()(np.arange(1000))),
    *(("labels", lambda labels=labels: LabelFlip()(labels)) for labels in ("abc", None, ["cat"])),
    ("labels", lambda: Backdoor()(np.zeros((1, 4, 4)), "7", rng())),
    ("rng", lambda: Backdoor()(np.zeros((1, 4, 4)), [7], 0)),
])  # fmt: skip
def test_labels_that_cannot_be_are_refused(name, make):
    with pytest.raises(ValueError, match=rf"Parameter `{name}` should be .*Found .*\. \w"):
        make()


def test_a_client_without_samples_has_no_labels():
    assert LabelFlip()([]).shape == RandomLabels()([]).shape == (0,)


def test_random_labels_are_those_of_numpys_generator():
    expected = np.random.default_rng((STREAM, 3)).integers(10, size=6)
    assert RandomLabels(seed=3)(LABELS).tolist() == expected.tolist()
    expected = np.random.default_rng((STREAM, 3, 7, 4)).integers(10, size=6)
    assert RandomLabels(seed=3)(LABELS, 7, 4).tolist() == expected.tolist()


def test_random_labels_are_uniform_whatever_they_were_and_may_stay():
    labels = np.repeat(np.arange(4, dtype=np.uint8), 5000)
    drawn = RandomLabels(4)(labels)
    assert drawn.dtype == np.uint8
    for label in range(4):
        shares = np.bincount(drawn[labels == label], minlength=4) / 5000
        np.testing.assert_allclose(shares, 0.25, atol=0.03)
    kept = np.mean(drawn == labels)
    assert kept == pytest.approx(0.25, abs=0.02)


def test_random_labels_differ_by_seed_and_client_only():
    drawn = RandomLabels()(LABELS, 0, 1)
    assert drawn.tolist() == RandomLabels()(LABELS, 0, 1).tolist()
    others = [RandomLabels(seed=1)(LABELS, 0, 1), RandomLabels()(LABELS, 0, 2)]
    assert len({tuple(each.tolist()) for each in [drawn, *others]}) == 3


@pytest.mark.torch
@pytest.mark.parametrize("attack", [LabelFlip(), LabelFlip(source=1, target=7), RandomLabels()])
def test_labels_that_are_tensors_stay_tensors(attack):
    for dtype in ("int64", "uint8", "int32"):
        labels = torch().tensor(LABELS, dtype=getattr(torch(), dtype))
        mapped = attack(labels)
        assert isinstance(mapped, torch().Tensor)
        assert mapped.dtype == labels.dtype
        assert mapped.tolist() == attack(LABELS).tolist()
        assert labels.tolist() == LABELS.tolist()


# Triggers.


def marked(attack, *shape, dtype=np.float64):
    """The coordinates at which the trigger changes samples of zeros."""
    return attack.triggered(np.zeros(shape, dtype))


@pytest.mark.parametrize(("position", "rows", "columns"), [
    ("top-left", [0, 1], [0, 1]), ("top-right", [0, 1], [3, 4]), ("bottom-left", [2, 3], [0, 1]),
    ("bottom-right", [2, 3], [3, 4]), ((0, 3), [0, 1], [3, 4]), ((1, 2), [1, 2], [2, 3]),
])  # fmt: skip
def test_the_square_by_hand(position, rows, columns):
    expected = np.zeros((4, 5))
    expected[np.ix_(rows, columns)] = 0.5
    attack = Backdoor(size=2, value=0.5, position=position)
    np.testing.assert_array_equal(marked(attack, 3, 4, 5), [expected] * 3)
    np.testing.assert_array_equal(marked(attack, 3, 1, 4, 5), [[expected]] * 3)
    np.testing.assert_array_equal(marked(attack, 2, 3, 4, 5), [[expected] * 3] * 2)
    last = np.repeat(expected[None, ..., None], 3, axis=-1)
    np.testing.assert_array_equal(marked(attack, 1, 4, 5, 3), last)
    flat = Backdoor(size=2, value=0.5, position=position, shape=(4, 5))
    np.testing.assert_array_equal(marked(flat, 2, 20), [expected.ravel()] * 2)
    flat = Backdoor(size=2, value=0.5, position=position, shape=(3, 4, 5))
    np.testing.assert_array_equal(marked(flat, 1, 60), [np.stack([expected] * 3).ravel()])
    flat = Backdoor(size=2, value=0.5, position=position, shape=(4, 5, 3))
    np.testing.assert_array_equal(marked(flat, 1, 60), last.reshape(1, 60))


def test_flat_samples_whose_shape_nobody_tells():
    assert marked(Backdoor(size=2), 1, 6).tolist() == [[0, 0, 1, 1, 1, 1]]
    assert marked(Backdoor(size=2, position="top-left"), 1, 6).tolist() == [[1, 1, 1, 1, 0, 0]]


def test_channels_are_found_or_told():
    assert marked(Backdoor(size=1), 1, 3, 4, 3)[0, :, -1, -1].tolist() == [1, 1, 1]
    told = Backdoor(size=1, channels="last")
    assert marked(told, 1, 3, 4, 3)[0, -1, -1].tolist() == [1, 1, 1]
    assert marked(told, 1, 6, 6, 5)[0, -1, -1].tolist() == [1] * 5
    assert marked(Backdoor(size=1, channels="first"), 1, 5, 6, 6)[0, :, -1, -1].tolist() == [1] * 5


def test_bright_is_what_the_dtype_makes_of_it():
    assert marked(Backdoor(), 1, 4, 4, dtype=np.uint8).max() == 255
    assert marked(Backdoor(), 1, 4, 4, dtype=np.float16).max() == 1
    assert marked(Backdoor(value=2.8), 1, 4, 4, dtype=np.float32).max() == np.float32(2.8)


def test_a_trigger_may_be_a_function():
    def wave(batch):
        batch += 1  # the function gets a copy
        return batch

    attack = Backdoor(target=3, trigger=wave, fraction=1.0)
    samples = np.zeros((2, 5))
    assert attack.triggered(samples).tolist() == [[1] * 5] * 2
    poisoned, labels = attack.poison(samples, np.array([0, 1]), rng())
    assert poisoned.tolist() == [[1] * 5] * 2
    assert labels.tolist() == [3, 3]
    assert not samples.any()


# Poisoned samples.


@given(st.integers(0, 30), st.floats(0, 1), st.integers(0, 3))
def test_a_fraction_of_the_samples_is_poisoned(total, fraction, seed):
    samples = rng(seed).normal(size=(total, 4, 4)).astype(np.float32)
    labels = rng(seed).integers(1, 10, total)
    before = samples.copy(), labels.copy()
    attack = Backdoor(size=2, value=9, fraction=fraction)
    poisoned, renamed = attack.poison(samples, labels, rng(seed))
    np.testing.assert_array_equal(samples, before[0])
    np.testing.assert_array_equal(labels, before[1])
    assert (poisoned.dtype, renamed.dtype) == (samples.dtype, labels.dtype)
    hit = renamed == 0
    many = max(1, round(fraction * total)) if fraction and total else 0
    assert hit.sum() == many
    np.testing.assert_array_equal(poisoned[~hit], samples[~hit])
    np.testing.assert_array_equal(renamed[~hit], labels[~hit])
    np.testing.assert_array_equal(poisoned[hit], attack.triggered(samples[hit]))
    again = attack(samples, labels, rng(seed))
    np.testing.assert_array_equal(again[0], poisoned)


@pytest.mark.torch
def test_tensors_stay_tensors_and_know_of_no_gradient():
    for dtype in ("float32", "float16", "bfloat16", "uint8"):
        images = torch().zeros(6, 3, 5, 5, dtype=getattr(torch(), dtype))
        images.requires_grad_(dtype != "uint8")
        labels = torch().tensor(LABELS)
        attack = Backdoor(target=8, fraction=0.5, size=2)
        samples, renamed = attack.poison(images, labels, rng())
        assert (samples.dtype, renamed.dtype) == (images.dtype, labels.dtype)
        assert not samples.requires_grad
        assert not images.detach().bool().any()
        assert labels.tolist() == LABELS.tolist()
        array, expected = attack.poison(np.zeros((6, 3, 5, 5)), LABELS, rng())
        assert renamed.tolist() == expected.tolist()
        np.testing.assert_array_equal(samples.bool().numpy(), array.astype(bool))
    turned = torch().zeros(16, 4).t()  # flat samples, which are not contiguous
    assert Backdoor(size=2, shape=(4, 4)).triggered(turned).sum() == 16


@pytest.mark.torch
def test_arrays_not_in_one_piece_are_marked_too():
    assert Backdoor(size=2, shape=(4, 4)).triggered(np.zeros((16, 4)).T).sum() == 16
    assert Backdoor(size=2).triggered(np.zeros((4, 4, 6)).T).sum() == 24


# Success.


def test_the_success_rate_by_hand():
    images = np.zeros((5, 4, 4))
    labels = np.array([0, 1, 2, 3, 0])  # two samples are of the target class, so they do not count
    attack = Backdoor(target=0, size=2)
    asked = []

    def predict(batch):
        asked.append(batch)
        return np.array([0, 5, 0])

    assert attack.success_rate(predict, images, labels) == pytest.approx(2 / 3)
    np.testing.assert_array_equal(asked[0], attack.triggered(images[:3]))
    assert attack.success_rate(lambda b: np.eye(4)[[0, 0, 0]], images, labels) == 1
    assert attack.success_rate(lambda b: np.full((len(b), 1), 3), images, labels) == 0
    assert attack.success_rate(predict, images.tolist(), labels.tolist()) == pytest.approx(2 / 3)
    assert math.isnan(Backdoor(target=7).success_rate(predict, images, np.full(5, 7)))


@pytest.mark.torch
def test_the_success_rate_of_a_network():
    images = torch().rand(6, 1, 4, 4, dtype=torch().bfloat16)
    labels = torch().tensor(LABELS)
    scores = torch().zeros(10, dtype=torch().bfloat16, requires_grad=True)

    def predict(batch):
        assert batch.dtype == images.dtype
        assert (batch[:, 0, 2:, 2:] == 1).all()
        return scores + torch().nn.functional.one_hot(torch().zeros(len(batch), dtype=int), 10)

    assert Backdoor(target=0, size=2).success_rate(predict, images, labels) == 1
    assert Backdoor(target=1, size=2).success_rate(predict, images, labels) == 0


IMAGES = np.zeros((2, 4, 4))


@pytest.mark.parametrize(("name", "make"), [
    ("target", lambda: Backdoor(target=-1)), ("target", lambda: Backdoor(target=1.5)),
    ("trigger", lambda: Backdoor(trigger=3)), ("fraction", lambda: Backdoor(fraction=1.5)),
    ("fraction", lambda: Backdoor(fraction="half")), ("size", lambda: Backdoor(size=0)),
    ("value", lambda: Backdoor(value=math.inf)), ("position", lambda: Backdoor(position="middle")),
    ("position", lambda: Backdoor(position=(1, -1))), ("shape", lambda: Backdoor(shape=(4,))),
    ("shape", lambda: Backdoor(shape=16)), ("channels", lambda: Backdoor(channels="NCHW")),
    ("size", lambda: Backdoor(size=5).triggered(IMAGES)),
    ("size", lambda: Backdoor(size=5).triggered(np.zeros((2, 24)))),
    ("position", lambda: Backdoor(position=(2, 2)).triggered(IMAGES)),
    ("position", lambda: Backdoor(position="top-right").triggered(np.zeros((2, 24)))),
    ("channels", lambda: Backdoor().triggered(np.zeros((2, 5, 5, 5)))),
    ("samples", lambda: Backdoor().triggered(np.zeros(5))),
    ("samples", lambda: Backdoor(shape=(4, 4)).triggered(np.zeros((2, 15)))),
    ("labels", lambda: Backdoor().poison(IMAGES, np.array([1]), rng())),
    ("labels", lambda: Backdoor().poison(IMAGES, np.array([1, -1]), rng())),
    ("labels", lambda: Backdoor().poison(IMAGES, np.array([1.0, 0.0]), rng())),
    ("trigger", lambda: Backdoor(trigger=lambda b: b[:, :2]).triggered(IMAGES)),
    ("predict", lambda: Backdoor().success_rate(lambda b: [1], IMAGES, np.array([1, 2]))),
])  # fmt: skip
def test_what_cannot_work_is_refused(name, make):
    with pytest.raises(ValueError, match=rf"(?s)Parameter `{name}` should be .*Found .*\. \w"):
        make()
