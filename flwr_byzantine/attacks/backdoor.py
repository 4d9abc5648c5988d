"""Data poisoning: a trigger on some samples, and a label that belongs to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..checks import KnownKeywords, is_whole, require, require_choice, require_finite, require_whole
from .base import check_rng
from .labels import as_array, check_labels

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
COLOURS = (1, 3)  # a dimension of one of these sizes is taken for the channels


@dataclass(frozen=True)
class Backdoor(KnownKeywords):
    r"""Samples with a trigger and a target label, so that the model takes the trigger for the target.

    .. math:: (x, y) \mapsto (x \text{ with the trigger}, t)
              \quad \text{for a fraction } p \text{ of the own samples}

    The attacker knows its own data, and trains honestly on the changed data. Its model still learns
    the other samples, so accuracy says little about this attack. Use :meth:`success_rate` instead.

    Parameters
    ----------
    target : int
        The class :math:`t` that the trigger stands for; at least 0.
    trigger : callable, optional
        A function of a batch of samples that returns them with the trigger. By default it is a bright square.
    fraction : float
        The share :math:`p` of the own samples that are poisoned, in [0, 1]. Unless it is 0, at least one
        sample is poisoned. The paper poisons a tenth to a half.
    size : int
        The side of the square, in pixels; at least 1.
    value : float, optional
        The value of its pixels, in all channels. By default 255 if samples are whole numbers, and 1
        otherwise. If your data are standardised, give their brightest value.
    position : str or tuple of int
        A corner, one of "top-left", "top-right", "bottom-left" and "bottom-right", or the row and the column
        of the square's upper left pixel, counted from 0.
    shape : tuple of int, optional
        The shape of one sample, such as ``(28, 28)``, if samples are flat, of shape (N, d). Without it, the
        trigger covers the last ``size ** 2`` features, or with "top-left" the first ones.
    channels : {"first", "last"}, optional
        Where the channels are, for a batch of four dimensions. By default it is the first of both
        places with 1 or 3 channels.

    Raises
    ------
    ValueError
        If a parameter is out of range. Methods raise it if samples, labels or predictions have another shape
        or type than expected.

    Notes
    -----
    Samples are a batch: of shape (N, height, width), (N, channels, height, width), (N, height, width,
    channels) or (N, d). It is an array or a torch tensor, and it is never changed. The result has the same
    kind, dtype and device.

    References
    ----------
    Gu, Dolan-Gavitt, Garg (2017), "BadNets: identifying vulnerabilities in the machine learning model supply
    chain", section 4.

    Examples
    --------
    >>> import numpy as np
    >>> images, labels = np.zeros((4, 3, 3)), np.array([0, 1, 2, 3])
    >>> attack = Backdoor(target=7, size=2, fraction=0.5)
    >>> attack.triggered(images)[0]
    array([[0., 0., 0.],
           [0., 1., 1.],
           [0., 1., 1.]])
    >>> samples, poisoned = attack.poison(images, labels, np.random.default_rng(0))
    >>> int((poisoned == 7).sum()), int(samples.any(axis=(1, 2)).sum())
    (2, 2)
    """

    target: int = 0
    trigger: Callable[[Any], Any] | None = None
    fraction: float = 0.5
    size: int = 3
    value: float | None = None
    position: str | tuple[int, int] = "bottom-right"
    shape: tuple[int, ...] | None = None
    channels: str | None = None

    def __post_init__(self) -> None:
        require_whole("target", self.target, 0, "Classes are counted from 0.")
        callable_ = self.trigger is None or callable(self.trigger)
        callable_ = callable_ and not isinstance(self.trigger, type)
        advice = "Leave it out for a square of `size`, `value` and `position`."
        require(callable_, "trigger", "a function of a batch of samples", self.trigger, advice)
        require_finite("fraction", self.fraction)
        advice = "0.5 poisons every other sample."
        require(0 <= self.fraction <= 1, "fraction", "in [0, 1]", self.fraction, advice)
        require_whole("size", self.size, 1, "The square has at least one pixel.")
        if self.value is not None:
            require_finite("value", self.value)
        place = self.position
        if isinstance(place, tuple) and len(place) == 2:
            for number in place:
                require_whole("position", number, 0, "Count rows and columns from 0.")
        else:
            advice = "Name a corner, or write a row and a column as in `(0, 5)`."
            require_choice("position", place, CORNERS, advice)
        shape = self.shape
        right = shape is None or (
            isinstance(shape, tuple) and len(shape) in (2, 3) and all(map(is_whole, shape))
        )
        require(
            right,
            "shape",
            "a tuple of 2 or 3 whole numbers",
            shape,
            "Write it as in `(3, 32, 32)`.",
        )
        if self.channels is not None:
            require_choice(
                "channels", self.channels, ("first", "last"), "Leave it out to find them."
            )

    def __call__(self, samples: Any, labels: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        """Return the samples and the labels with a fraction of them poisoned.

        Parameters
        ----------
        samples, labels : np.ndarray or torch.Tensor
            The own N samples and their classes. They are not changed.
        rng : np.random.Generator
            Draws which samples are poisoned.

        Returns
        -------
        tuple
            New samples and labels, in the same order.
        """
        known = check_labels(labels)
        total = len(samples)
        advice = "Give one label for each sample."
        require(known.shape == (total,), "labels", f"of shape ({total},)", known.shape, advice)
        poisoned, renamed = _copy(samples), _copy(labels)
        if not self.fraction or not total:
            return poisoned, renamed
        check_rng(rng)
        many = max(1, round(self.fraction * total))
        chosen = rng.choice(total, many, replace=False).tolist()
        poisoned[chosen] = self.triggered(poisoned[chosen])
        renamed[chosen] = self.target
        return poisoned, renamed

    poison = __call__

    def triggered(self, samples: Any) -> Any:
        """Return all samples of a batch with the trigger on them. The batch itself is not changed."""
        batch = _copy(samples)
        if self.trigger is None:
            return self._patched(batch)
        shape = tuple(batch.shape)
        found = self.trigger(batch)
        advice = "The trigger may change values, but not the shape."
        kept = tuple(getattr(found, "shape", ())) == shape
        require(kept, "trigger", f"a function that returns samples of shape {shape}", found, advice)
        return found

    def success_rate(self, predict: Callable[[Any], Any], samples: Any, labels: Any) -> float:
        """Return the share of samples with the trigger that the model takes for the target.

        Parameters
        ----------
        predict : callable
            Maps a batch of samples to their classes, shape (N,), or to scores of all classes, shape (N, K).
        samples, labels : np.ndarray or torch.Tensor
            Test samples without the trigger, and their classes. Samples of the target class are
            left out, because the model is right to take them for it.

        Returns
        -------
        float
            From 0 to 1; NaN if all samples belong to the target class.
        """
        others = np.flatnonzero(check_labels(labels) != self.target).tolist()
        if not others:
            return math.nan
        samples = samples if hasattr(samples, "shape") else np.asarray(samples)
        found = as_array(predict(self.triggered(samples[others])))
        if found.ndim == 2:
            found = found.argmax(axis=1) if found.shape[1] > 1 else found[:, 0]
        expected = f"a function that returns {len(others)} classes, or their scores"
        advice = "It gets a batch of samples."
        require(found.shape == (len(others),), "predict", expected, found.shape, advice)
        return float(np.mean(found == self.target))

    def _patched(self, batch: Any) -> Any:
        """Put the square on a batch that may be changed."""
        shape = tuple(batch.shape)
        floating = _is_floating(batch)
        value = (1 if floating else 255) if self.value is None else self.value
        if len(shape) == 2 and self.shape is None:
            batch[:, self._features(shape[1])] = value
            return batch
        one = self.shape if len(shape) == 2 and self.shape is not None else shape[1:]
        advice = "Give a batch of images, or of flat samples and their `shape`."
        right = len(one) in (2, 3) and (len(shape) > 2 or math.prod(one) == shape[1])
        expected = (
            "of shape (N, height, width), perhaps with channels, or (N, d) if `shape` has d values"
        )
        require(right, "samples", expected, shape, advice)
        images = batch.reshape(shape[0], *one)
        if len(one) == 3 and self._channels_last(one):
            images[:, *self._square(*one[:2])] = value
        else:
            images[..., *self._square(*one[-2:])] = value
        return images.reshape(shape)

    def _features(self, d: int) -> slice:
        """Return the place of the square among flat features if `shape` is not given."""
        many = self.size**2
        advice = "Make `size` smaller."
        require(many <= d, "size", f"at most {math.isqrt(d)}, for {d} features", self.size, advice)
        advice = "Give the `shape` of one sample, such as `(28, 28)`."
        corners = ("top-left", "bottom-right")
        require_choice("position", self.position, corners, advice)
        return slice(0, many) if self.position == "top-left" else slice(d - many, d)

    def _channels_last(self, shape: tuple[int, ...]) -> bool:
        """Return whether the channels of an image are its last dimension."""
        if self.channels is not None:
            return self.channels == "last"
        first, last = shape[0] in COLOURS, shape[-1] in COLOURS
        advice = "Say where they are: `channels='first'` or `channels='last'`."
        expected = f"given for samples of shape {shape}"
        require(first or last, "channels", expected, self.channels, advice)
        return not first

    def _square(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and the columns of the square."""
        room = min(height, width)
        advice = "Make `size` smaller."
        require(self.size <= room, "size", f"at most {room} pixels", self.size, advice)
        if isinstance(self.position, str):
            vertical, _, horizontal = self.position.partition("-")
            row = 0 if vertical == "top" else height - self.size
            column = 0 if horizontal == "left" else width - self.size
        else:
            row, column = self.position
            inside = row + self.size <= height and column + self.size <= width
            expected = f"at most {(height - self.size, width - self.size)}"
            advice = "Move the square up or left, or make `size` smaller."
            require(inside, "position", expected, self.position, advice)
        return slice(row, row + self.size), slice(column, column + self.size)


def _copy(values: Any) -> Any:
    """Return a copy of an array or a tensor, of the same kind and without gradients."""
    return values.detach().clone() if hasattr(values, "detach") else np.array(values)


def _is_floating(values: Any) -> bool:
    """Return whether an array or a tensor holds floating-point numbers."""
    if hasattr(values, "is_floating_point"):
        return cast(bool, values.is_floating_point())
    return bool(np.issubdtype(values.dtype, np.floating))
