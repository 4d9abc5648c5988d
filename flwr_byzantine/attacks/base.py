"""The signatures of an attack on updates, and what their implementations share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..checks import require as require
from ..checks import require_finite as require_finite
from ..checks import require_whole as require_whole

Floats = NDArray[np.floating[Any]]


class Told:
    """An attack that can be told how many clients there are, by code that knows."""

    def told(self, num_clients: int, num_attackers: int) -> Self:
        """Return the attack for a federation of this many clients, with this many attackers.

        An attack that does not ask, or was told by a parameter, stays as it is.
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
            The client's own update, shape (d,), of floating-point numbers; never changed.
        rng : np.random.Generator
            The attacker's random numbers.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``own``, and a tensor where that is one.

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
            Shape (num_attackers, d), in the precision of ``honest``, and a tensor where that is one. In
            numpy, attackers that send the same share one read-only row.

        Raises
        ------
        ValueError
            If ``honest`` is no such matrix or has no row, or ``num_attackers`` is below 1.
        """


class ModelAttack(Told, ABC):
    """Attackers that know the global models of the rounds, and no update, not even their own."""

    @abstractmethod
    def __call__(self, model: Floats, rng: np.random.Generator) -> Floats:
        """Return the update that every attacker sends.

        Parameters
        ----------
        model : np.ndarray or torch.Tensor
            The global model that clients are given in this round, shape (d,), of floating-point numbers;
            never changed. Those of the rounds before are in the attack's memory.
        rng : np.random.Generator
            The attackers' random numbers.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``model``, and a tensor where that is one.

        Raises
        ------
        ValueError
            If ``model`` holds anything but floating-point numbers.
        """


@dataclass(frozen=True)
class Remembering:
    """An attack that depends on what it was given in the rounds before; mixed into attacks.

    Attributes
    ----------
    memory : dict[str, np.ndarray or float]
        What it remembers, empty before its first round. Each call changes it. It is no part of what the
        attack is: two attacks of the same parameters are equal.
    """

    memory: dict[str, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False, kw_only=True
    )

    def fresh(self) -> Self:
        """The same attack before its first round."""
        return replace(self)

    def resized(self, before: int, now: int) -> None:
        """Forget all, with a warning, where the last call had so many values, and this has another number.

        The model of an app may change its size: Flower's FedAvg, for one, returns counters as floating-point
        numbers.
        """
        if before != now:
            text = "%s begins anew: it was given %s values before, and %s now"
            logging.getLogger("flwr").warning(text, type(self).__name__, before, now)
            self.memory.clear()


class ChannelAttack(ABC):
    """A channel that corrupts what passes, from whichever client."""

    @abstractmethod
    def __call__(
        self, values: Floats, client: int, num_clients: int, server_round: int, seed: int = 0
    ) -> Floats:
        """Return what arrives of the values that a client transmits.

        Parameters
        ----------
        values : np.ndarray or torch.Tensor
            Shape (d,), of floating-point numbers; never changed.
        client, num_clients : int
            Number of the client, counted from 0, and of all clients.
        server_round : int
            The round; another one is corrupted in other places.
        seed : int
            Together with the round it decides what is hit.

        Returns
        -------
        np.ndarray or torch.Tensor
            Shape (d,), in the precision of ``values``, and a tensor where that is one.

        Raises
        ------
        ValueError
            If ``values`` holds anything but floating-point numbers.
        """


def stream(*keys: int) -> np.random.Generator:
    """Return the random numbers that belong to these keys, each at least 0, and to no others."""
    return np.random.default_rng(keys)


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
        "Stack the flattened honest updates, one in each row; the attack needs at least one.",
    )
    require_whole(
        "num_attackers", num_attackers, 1, "Without any attacker, do not call the attack."
    )
    return honest


def check_rng(rng: object) -> None:
    """Raise unless it is a source of random numbers; what stands for one that is missing says why it is."""
    advice = "Make one of a seed, as in `np.random.default_rng(0)`."
    require(hasattr(rng, "bit_generator"), "rng", "a numpy Generator", rng, advice)


def same_row(row: Floats, num_attackers: int, like: Floats) -> Floats:
    """Return one row for each attacker, all the same memory, in the precision of `like`.

    A value beyond what that precision holds becomes infinite, as it would on the attacker's side.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        row = row.astype(like.dtype, copy=False)
    return np.broadcast_to(row, (num_attackers, row.size))
