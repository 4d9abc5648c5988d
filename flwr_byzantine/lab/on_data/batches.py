"""Finds samples and labels in what a loader yields: pairs, lists, dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LABELS = (
    "label",
    "labels",
    "y",
    "target",
    "targets",
    "class",
    "classes",
    "fine_label",
    "character",
)
SAMPLES = (
    "img", "image", "images", "pixel_values", "x", "features", "feature", "input", "inputs", "sample",
    "samples", "data",
)  # fmt: skip
MANY = 64  # something with more parts is not taken for a batch
Path = tuple[Any, ...]


class NotUnderstoodError(ValueError):
    """Samples or labels cannot be found in a batch. The text says in one line what the batch holds."""


@dataclass(frozen=True)
class Part:
    """An array or a tensor in a batch.

    Parameters
    ----------
    path : tuple
        The keys and places that lead to the array.
    value : np.ndarray or torch.Tensor
        The array.
    """

    path: Path
    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.value.shape)

    @property
    def name(self) -> str:
        """The array's key in small letters; empty if it has none."""
        return self.path[-1].lower() if self.path and isinstance(self.path[-1], str) else ""

    def __str__(self) -> str:
        """The array's key or place, its type and its shape."""
        where = ".".join(map(str, self.path))
        kind = str(self.value.dtype).removeprefix("torch.")
        return f"{where or 'all'}: {kind} of shape {self.shape}"


class Batch:
    """What a loader yields, with the places of the labels and of the samples.

    Parameters
    ----------
    whole : Any
        A tuple, list or mapping of arrays or tensors, nested or not.
    needs_samples : bool
        Whether samples have to be found too, and not only labels.

    Raises
    ------
    NotUnderstoodError
        If they cannot be found.
    """

    def __init__(self, whole: Any, needs_samples: bool) -> None:
        self.whole = whole
        self.parts = list(_parts(whole, ()))
        self._labels = self._find_labels()
        self.size = self._labels.shape[0]
        self._samples = self._find_samples() if needs_samples else None

    @property
    def labels(self) -> Any:
        """The classes of the samples, as whole numbers in one dimension."""
        return as_classes(self._labels.value)

    @property
    def samples(self) -> Any:
        """The samples."""
        assert self._samples is not None
        return self._samples.value

    def row(self, i: int) -> bytes | None:
        """An array that tells one sample from another; None if only labels are known."""
        for part in self.parts:
            if part is not self._labels and len(part.shape) > 1 and part.shape[0] == self.size:
                value = part.value[i]
                value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
                return np.ascontiguousarray(value).tobytes()
        return None

    def with_these(self, samples: Any, labels: Any, rows: Any = None) -> Any:
        """The same batch with other samples and labels in it.

        Parameters
        ----------
        samples, labels : np.ndarray or torch.Tensor
            The new samples and labels. None keeps the samples.
        rows : list of int or None
            The rows of all other parts that are kept; None keeps all rows.
        """
        new = {}
        if rows is not None:
            sized = [p for p in self.parts if p.shape and p.shape[0] == self.size]
            new = {part.path: part.value[rows] for part in sized}
        if samples is not None and self._samples is not None:
            new[self._samples.path] = samples
        new[self._labels.path] = as_before(labels, self._labels.value)
        return _replaced(self.whole, (), new)

    def _find_labels(self) -> Part:
        upright = [p for p in self.parts if len(p.shape) == 1 or p.shape[1:] == (1,)]
        whole = [p for p in upright if is_whole(p.value)]
        # With two classes, labels are often 0.0 and 1.0, because the loss needs floats.
        found = whole or [p for p in upright if not is_whole(p.value) and are_two(p.value)]
        found = _named(found, LABELS) or [p for p in found if p.name not in SAMPLES]
        if len(found) > 1 and not found[0].name:
            large = [p.path for p in self.parts if len(p.shape) > 1 and p.shape[1:] != (1,)]
            found = [p for p in found if not large or p.path > large[0]][:1]
        if len(found) != 1:
            raise NotUnderstoodError(f"no labels were found in a batch of {self._described()}")
        return found[0]

    def _find_samples(self) -> Part:
        found = [
            p
            for p in self.parts
            if p is not self._labels
            and len(p.shape) > 1
            and p.shape[0] == self.size
            and (is_floating(p.value) or (len(p.shape) > 2 and is_whole(p.value)))
        ]
        found = _named(found, SAMPLES) or found
        if len(found) != 1:
            raise NotUnderstoodError(
                f"no samples that can carry a trigger were found in a batch of {self._described()}"
            )
        return found[0]

    def _described(self) -> str:
        if not self.parts:
            return f"{type(self.whole).__name__}, without arrays or tensors"
        return f"{type(self.whole).__name__} ({'; '.join(map(str, self.parts[:5]))})"


def is_whole(array: Any) -> bool:
    """Whether an array holds whole numbers."""
    if hasattr(array, "is_floating_point"):
        no_number = array.is_floating_point() or array.is_complex()
        return not no_number and not str(array.dtype).endswith("bool")
    return bool(np.issubdtype(array.dtype, np.integer))


def is_floating(array: Any) -> bool:
    """Whether an array holds floating-point numbers."""
    if hasattr(array, "is_floating_point"):
        return bool(array.is_floating_point())
    return bool(np.issubdtype(array.dtype, np.floating))


def are_two(array: Any) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((array == 0) | (array == 1)).all())


def as_classes(labels: Any) -> Any:
    """Labels as whole numbers in one dimension."""
    flat = labels.reshape(-1)
    if is_whole(flat):
        return flat
    return flat.long() if hasattr(flat, "long") else flat.astype(np.int64)


def as_before(classes: Any, labels: Any) -> Any:
    """Classes with the dtype and the dimensions of the labels that they replace."""
    shape = (-1, *labels.shape[1:])
    if hasattr(classes, "detach"):
        return classes.to(labels.dtype).reshape(shape)
    return classes.astype(labels.dtype).reshape(shape)


def _named(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    """The part with the first of these names that occurs; None if none of them occurs."""
    for name in names:
        if found := [part for part in parts if part.name == name]:
            return found
    return []


def _parts(value: Any, path: Path) -> Iterator[Part]:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        yield Part(path, value)
    elif isinstance(value, Mapping) and len(value) <= MANY:
        for key in value:
            yield from _parts(value[key], (*path, key))
    elif isinstance(value, tuple | list) and len(value) <= MANY:
        for i, inner in enumerate(value):
            yield from _parts(inner, (*path, i))


def _replaced(value: Any, path: Path, new: Mapping[Path, Any]) -> Any:
    """The same nested structure with other arrays in it. The original does not change."""
    if path in new:
        return new[path]
    if isinstance(value, MutableMapping):
        other = copy.copy(value)
        for key in list(value):
            other[key] = _replaced(value[key], (*path, key), new)
        return other
    if isinstance(value, tuple | list) and len(value) <= MANY:
        inside = [_replaced(inner, (*path, i), new) for i, inner in enumerate(value)]
        if hasattr(value, "_fields"):
            return type(value)(*inside)
        return type(value)(inside) if type(value) in (tuple, list) else tuple(inside)
    return value
