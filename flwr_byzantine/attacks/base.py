"""The signatures of an attack on updates, and what their implementations share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..checks import KnownKeywords
from ..checks import require as require
from ..checks import require_finite as require_finite
from ..checks import require_whole as require_whole

Floats = NDArray[np.floating[Any]]


class Told(KnownKeywords):
    """An attack that depends on the number of clients. Code that knows the number can tell it."""

    def told(self, num_clients: int, num_attackers: int) -> Self:
        """Return the attack for a federation of this many clients, with this many attackers.

        An attack that does not need these numbers, or has them as parameters, stays unchanged.
        """
        return self


class LocalAttack(Told, ABC):
    """An attacker that knows its own update and nothing else."""

    @abstractmethod
    def __call__(self, own: Floats, rng: np.random.Generator) -> Floats:
        """Return what is sent in place of the client's own update.

        Parameters
        ----------
        own : np.ndarray or torch.Tensor
            The client's own update, shape (d,), of floating-point numbers. It is never changed.
        rng : np.random.Generator
            The attacker's random numbers.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``own``. It is a tensor if ``own`` is one.

        Raises
        ------
        ValueError
            If ``own`` holds anything but floating-point numbers.
        """


class ColludingAttack(Told, ABC):
    """Attackers that know some honest updates: everyone's, or those they computed themselves."""

    @abstractmethod
    def __call__(self, honest: Floats, num_attackers: int, rng: np.random.Generator) -> Floats:
        """Return what the attackers send.

        Parameters
        ----------
        honest : np.ndarray, torch.Tensor, or a sequence of them
            The h honest updates that the attackers know, shape (h, d) or h of shape (d,), of floating-point
            numbers; never changed.
        num_attackers : int
            How many attackers send something; at least 1.
        rng : np.random.Generator
            The attackers' random numbers.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (num_attackers, d), in the precision of ``honest``. It is a tensor if ``honest`` is one. In
            numpy, attackers that send the same share one read-only row.

        Raises
        ------
        ValueError
            If ``honest`` is no such matrix or has no row, or if ``num_attackers`` is below 1.
        """


class ModelAttack(Told, ABC):
    """Attackers that know the global model of each round, but no update, not even their own."""

    @abstractmethod
    def __call__(self, model: Floats, rng: np.random.Generator) -> Floats:
        """Return the update that every attacker sends.

        Parameters
        ----------
        model : np.ndarray or torch.Tensor
            The global model that clients get in this round, shape (d,), of floating-point numbers. It is
            never changed. The attack's memory holds what it needs of earlier models.
        rng : np.random.Generator
            The attackers' random numbers.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``model``. It is a tensor if ``model`` is one.

        Raises
        ------
        ValueError
            If ``model`` holds anything but floating-point numbers.
        """


@dataclass(frozen=True)
class Remembering:
    """An attack with a memory: it depends on what it got in earlier rounds. It is a mixin for attacks.

    Attributes
    ----------
    memory : dict[str, np.ndarray or float]
        What the attack remembers; empty before its first round. Each call changes it. Comparisons ignore it:
        two attacks with the same parameters are equal.
    """

    memory: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False, kw_only=True
    )

    def fresh(self) -> Self:
        """The same attack before its first round."""
        return replace(self)

    def resized(self, before: int, now: int) -> None:
        """Forget everything, with a warning, if the last call had another number of values.

        The size of an app's model may change. For example, Flower's FedAvg returns counters as floating-point
        numbers.
        """
        if before != now:
            text = "%s begins anew, because it got %s values before and gets %s now"
            logging.getLogger("flwr").warning(text, type(self).__name__, before, now)
            self.memory.clear()


class ChannelAttack(KnownKeywords, ABC):
    """A channel that corrupts what clients transmit, whichever client it is."""

    @abstractmethod
    def __call__(
        self, values: Floats, client: int, num_clients: int, server_round: int, seed: int = 0
    ) -> Floats:
        """Return what the server receives when a client transmits some values.

        Parameters
        ----------
        values : np.ndarray or torch.Tensor
            Shape (d,), of floating-point numbers. They are never changed.
        client, num_clients : int
            The client's number, counted from 0, and the number of all clients.
        server_round : int
            The round. In each round, other places are corrupted.
        seed : int
            The seed and the round decide which values are corrupted.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``values``. It is a tensor if ``values`` is one.

        Raises
        ------
        ValueError
            If ``values`` holds anything but floating-point numbers.
        """


def stream(*keys: int) -> np.random.Generator:
    """Return random numbers for these keys, each at least 0. Other keys give other numbers."""
    return np.random.default_rng([index(key) for key in keys])


def check_update(own: Floats) -> Floats:
    """Return the update as a floating-point array."""
    own = np.asarray(own)
    require(
        bool(np.issubdtype(own.dtype, np.floating)),
        "own",
        "an array of floating-point numbers",
        own.dtype,
        "Leave integer and boolean tensors out of the update.",
    )
    return own


def check_honest(honest: Floats, num_attackers: int) -> Floats:
    """Return the honest updates as a floating-point matrix with at least one row."""
    honest = np.asarray(honest)
    require(
        honest.ndim == 2 and len(honest) > 0 and bool(np.issubdtype(honest.dtype, np.floating)),
        "honest",
        "a matrix (h, d) of floating-point numbers with h >= 1",
        f"{honest.dtype} of shape {honest.shape}",
        "Stack the flattened honest updates, one in each row. The attack needs at least one.",
    )
    require_whole(
        "num_attackers", num_attackers, 1, "Without any attacker, do not call the attack."
    )
    return honest


def check_rng(rng: object) -> None:
    """Raise unless it is a source of random numbers. A stand-in for a missing one says why it is missing."""
    advice = "Make one from a seed, as in `np.random.default_rng(0)`."
    require(hasattr(rng, "bit_generator"), "rng", "a numpy Generator", rng, advice)


def same_row(row: Floats, num_attackers: int, like: Floats) -> Floats:
    """Return one row for each attacker, in the precision of `like`. All rows share their memory.

    A value that is too large for that precision becomes infinite, as it would at the attacker.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        row = row.astype(like.dtype, copy=False)
    return np.broadcast_to(row, (num_attackers, row.size))
