"""Step sizes: a number, or a function of the round. The function's result is checked in every round."""

from collections.abc import Callable

import numpy as np

from flwr_byzantine.checks import ParameterError, require

LearningRate = float | Callable[[int], float]


def check_learning_rate(name: str, rate: LearningRate) -> None:
    """Raise ParameterError unless a step size is a positive number or a function."""
    require(
        callable(rate) or _is_number(rate, more_than_zero=True),
        name,
        "a positive number or a function of the round",
        rate,
        "Pass 0.1, for example, or `PowerDecay(0.1, power=1.0, offset=100)`.",
    )


def step_size(name: str, rate: LearningRate, server_round: int) -> float:
    """The step size of a round.

    Parameters
    ----------
    name : str
        The user's name of the step size.
    rate : float or Callable[[int], float]
        The number, or the user's function of the round.
    server_round : int
        The round, counted from 1.

    Raises
    ------
    ParameterError
        If the function gives anything except a finite number of at least 0. True and False are no numbers.

    Examples
    --------
    >>> step_size("learning_rate", lambda server_round: 1 / server_round, 4)
    0.25
    """
    value: object = rate(server_round) if callable(rate) else rate
    if not _is_number(value):
        error = ParameterError(
            f"Parameter `{name}` should give finite numbers of at least 0. Found {value!r} in round "
            f"{server_round}. Correct the function that was passed."
        )
        error.parameter = name
        raise error
    return float(value)  # type: ignore[arg-type]


def _is_number(value: object, more_than_zero: bool = False) -> bool:
    """Whether a value is one finite number of at least 0, from Python, numpy or torch."""
    try:
        number = np.asarray(value)
    except ValueError:  # lists of several lengths
        return False
    if number.ndim or number.dtype.kind not in "fiu" or not np.isfinite(number):
        return False
    return bool(number > 0 if more_than_zero else number >= 0)
