"""How attackers change their training data, and the samples that test a model for a backdoor."""

from __future__ import annotations

import math
import sys
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import RecordDict

from flwr_byzantine.attacks import Backdoor, LabelFlip
from flwr_byzantine.attacks.base import stream
from flwr_byzantine.checks import ParameterError
from flwr_byzantine.clients.poisoned import POISON_STREAM
from flwr_byzantine.lab.names import ON_DATA, name_of
from flwr_byzantine.lab.on_data.batches import Batch, NotUnderstoodError, as_before, as_classes

BACKDOOR = name_of(Backdoor.__name__)


class _Passing:
    """What both changes share."""

    methods: tuple[str, ...] = ()
    leaves_out = False

    def __init__(self) -> None:
        self.count = 0

    def wants(self, estimator: Any) -> bool:
        """Whether an estimator is a classifier. Raise if it is a regressor, which knows no classes."""
        base = sys.modules["sklearn.base"]
        if base.is_regressor(estimator):
            raise NotUnderstoodError(
                f"{type(estimator).__name__} is a regressor and knows no classes"
            )
        return bool(base.is_classifier(estimator))


class Poisoned(_Passing):
    """Changes the training data of an attacker.

    Parameters
    ----------
    attack : str
        One of ``ON_DATA``.
    seed, number : int
        The seed and the node's number. The attacker's random numbers depend on both.
    classes : int
        How many classes the model knows; 0 if that is not known.
    """

    methods: tuple[str, ...] = ("fit", "partial_fit")

    def __init__(self, attack: str, seed: int, number: int, classes: int) -> None:
        super().__init__()
        self.kind, self.seed, self.number, self.classes = ON_DATA[attack], seed, number, classes
        self.calls = 0

    def batch(self, batch: Any) -> Any:
        """Return the batch as the attacker changes it."""
        found = Batch(batch, self.kind is Backdoor)
        samples = found.samples if self.kind is Backdoor else None
        return found.with_these(*self._poison(found, samples, found.labels))

    def examples(self, samples: Any, labels: Any) -> tuple[Any, Any]:
        """Return samples and labels as the attacker changes them."""
        given = np.asarray(labels)
        if given.dtype.kind not in "iub" and not _are_whole(given):
            raise NotUnderstoodError(f"labels of type {given.dtype} are no whole numbers")
        known = as_classes(given)
        if self.kind is not Backdoor:
            _, changed = self._poison(None, None, known)
            return samples, as_before(changed, given)
        changed_samples, changed = self._poison(None, _dense(samples), known)
        return changed_samples, as_before(changed, given)

    def _poison(self, batch: Batch | None, samples: Any, labels: Any) -> tuple[Any, Any]:
        """Change samples and labels. In a batch each sample has a row, by which it is recognised later."""
        total = len(labels)
        self.count += total
        self.calls += 1
        keys = self.seed, self.number
        if self.kind is Backdoor:
            attack = trigger_for(samples)
            found = _tried(attack, samples, labels, stream(POISON_STREAM, *keys, self.calls))
            return found[0], found[1]
        self.classes = max(self.classes, 2, int(labels.max()) + 1 if total else 0)
        made: Any = self.kind
        made = made(num_classes=self.classes)
        if self.kind is LabelFlip:
            return samples, _tried(made, labels)
        rows = [batch.row(i) for i in range(total)] if batch is not None else []
        if not rows or rows[0] is None:
            return samples, _tried(made, labels, *keys, *([self.calls] if batch else []))
        drawn = labels.detach().clone() if hasattr(labels, "detach") else labels.copy()
        for i, row in enumerate(rows):  # a sample keeps its random label in all rounds
            drawn[i : i + 1] = _tried(made, labels[i : i + 1], *keys, zlib.crc32(row or b""))
        return samples, drawn


class Triggered(_Passing):
    """Puts the trigger on samples and labels them as the target. Samples of the target class are left out.

    An app that counts right labels then counts how often the backdoor works.
    """

    methods: tuple[str, ...] = ("score",)
    leaves_out = True

    def batch(self, batch: Any) -> Any:
        """Return the batch with the trigger in it; None if no sample is left."""
        found = Batch(batch, True)
        rows, samples, labels = self._trigger(found.samples, found.labels)
        return found.with_these(samples, labels, rows) if rows else None

    def examples(self, samples: Any, labels: Any) -> tuple[Any, Any]:
        """Return samples with the trigger and labels."""
        given = np.asarray(labels)
        rows, samples, labels = self._trigger(_dense(samples), as_classes(given))
        if not rows:
            raise NotUnderstoodError("all samples belong to the trigger's target class")
        return samples, as_before(labels, given)

    def _trigger(self, samples: Any, labels: Any) -> tuple[list[int], Any, Any]:
        attack = trigger_for(samples)
        rows = np.flatnonzero(np.asarray(labels.tolist()) != attack.target).tolist()
        self.count += len(rows)
        changed = labels[rows] * 0 + attack.target
        return rows, _tried(attack.triggered, samples[rows]) if rows else samples[:0], changed


def trigger_for(samples: Any) -> Backdoor:
    """The backdoor for samples of this shape and brightness. It is the same for all nodes.

    The trigger is a square. Its value is 1 if no value of the samples is larger, and otherwise the next power
    of two, but 255 for samples up to 255. If samples have few features, the square covers few of them.

    Examples
    --------
    >>> trigger_for(np.full((2, 8, 8), 14.5)).value, trigger_for(np.ones((2, 4))).size
    (16.0, 1)
    """
    shape = tuple(samples.shape)
    attack = Backdoor()
    room = math.isqrt(shape[1]) // 2 if len(shape) == 2 else min((*shape[-2:], *shape[1:3]))
    if len(shape) == 4:
        room = max(1, sorted(shape[1:])[1])  # the smallest dimension holds the channels
    attack = replace(attack, size=max(1, min(attack.size, room)))
    brightest = float(samples.max()) if math.prod(shape) else 0.0
    if brightest <= 1 or not math.isfinite(brightest):
        return attack
    value = 2.0 ** math.ceil(math.log2(brightest))
    return replace(attack, value=min(value, 255.0) if brightest <= 255 else value)


def classes_of(content: RecordDict) -> int:
    """How many classes the model in a message knows: the outputs of its last layer; 0 if not known."""
    for record in reversed(list(content.array_records.values())):
        for array in reversed(list(record.values())):
            try:
                shape = tuple(array.shape) or array.numpy().shape
            except Exception:  # no numpy array
                return 0
            if len(shape) in (1, 2):
                return int(min(shape))
            if shape:
                return 0
    return 0


def _tried(attack: Any, *arguments: Any) -> Any:
    """Let an attack change data. Raise NotUnderstoodError if it cannot use them."""
    try:
        return attack(*arguments)
    except ParameterError as error:
        raise NotUnderstoodError(f"the attack cannot use these data: {error}") from error


def _dense(samples: Any) -> Any:
    found = np.asarray(samples)
    if found.ndim < 2 or found.dtype.kind not in "iuf":
        raise NotUnderstoodError(
            f"samples of type {type(samples).__name__} are no matrix of numbers"
        )
    return found


def _are_whole(values: Any) -> bool:
    return values.dtype.kind == "f" and bool((values == np.round(values)).all())
