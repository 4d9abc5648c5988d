"""The wording of all errors: which parameter was wrong, what was expected, what was found, and what to do.

A strategy and its rule have different names for the same number. So an error knows its parameter, and
:func:`in_words` replaces the name by the one that the user wrote.
"""

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Self

import numpy as np

# What users may call a rule's parameter, after the papers' letters.
LETTERS = {"f": "num_byzantine", "b": "trim", "m": "num_selected"}
# The names that one number has in rules, and the names that users may take for it.
_SAME_NUMBER = (
    (("num_byzantine", "trim"), {"f", "b", "num_malicious_clients", "num_malicious_nodes"}),
    (("num_selected",), {"m", "num_clients_to_keep", "num_nodes_to_select"}),
)


class ParameterError(ValueError):
    """A parameter cannot work. The text says what to do."""

    parameter = ""

    def renamed(self, name: str) -> "ParameterError":
        """The same error with the name of the parameter that the user wrote."""
        text = str(self).replace(f"`{self.parameter}`", f"`{name}`")
        error = ParameterError(text.replace(f"`{self.parameter} = ", f"`{name} = "))
        error.parameter = name
        return error


def wrong(
    name: str, expected: str, value: object, advice: str, *, owner: str = "", found: str = ""
) -> ParameterError:
    """The error of a parameter, to be raised.

    Parameters
    ----------
    name : str
        The parameter.
    expected : str
        What the parameter should be.
    value : object
        The value of the parameter.
    advice : str
        What to do, in a sentence.
    owner : str
        The object that has the parameter, if that is not obvious.
    found : str
        What was found, if it is not the value.

    Examples
    --------
    >>> print(wrong("trim", "at least 0", -1, "Trim fewer."))
    Parameter `trim` should be at least 0. Found `trim = -1`. Trim fewer.
    """
    of = f" of {owner}" if owner else ""
    found = found or f"`{name} = {value!r}`"
    error = ParameterError(f"Parameter `{name}`{of} should be {expected}. Found {found}. {advice}")
    error.parameter = name
    return error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question about the known word that is most like an unknown one; nothing if none is like it.

    Examples
    --------
    >>> did_you_mean("trimedmean", ["median", "trimmed_mean"])
    'Did you mean `trimmed_mean`? '
    >>> did_you_mean("abc", ["median", "trimmed_mean"])
    ''
    """
    found = get_close_matches(word.lower(), [*known], n=1, cutoff=0.6)
    return f"Did you mean `{found[0]}`? " if found else ""


class KnownKeywords:
    """Classes whose errors say how a keyword should be called that they do not know."""

    def __new__(cls, *_: object, **given: object) -> Self:
        """Raise TypeError for a keyword that ``__init__`` does not have. It reports all other mistakes."""
        known = [*inspect.signature(cls.__init__).parameters.values()][1:] if given else []
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
            names = [parameter.name for parameter in known]
            for name in given:
                if name not in names:
                    raise TypeError(
                        f"{cls.__name__}() got an unexpected keyword argument {name!r}. "
                        + _keyword_for(name, names)
                    )
        return super().__new__(cls)


def _keyword_for(word: str, names: Sequence[str]) -> str:
    """Which keyword to write in place of an unknown one."""
    for own, others in _SAME_NUMBER:
        known = [name for name in own if name in names]
        if known and word in {*own, *others}:
            return f"Write `{known[0]}` for this number."
    if question := did_you_mean(word, names):
        return question.rstrip()
    written = ", ".join(f"`{name}`" for name in names)
    return f"Its keywords are {written}." if names else "It takes no keywords."


def instead_of_a_rule(found: object) -> str:
    """What to pass in the place of something that is no rule.

    Examples
    --------
    >>> instead_of_a_rule("phocas")
    'Pass the rule itself, not its name.'
    >>> instead_of_a_rule(dict)
    'Pass a rule, not its class.'
    """
    if isinstance(found, type):
        return "Pass a rule, not its class."
    if isinstance(found, str):
        return "Pass the rule itself, not its name."
    inside = getattr(found, "rule", None)
    if hasattr(inside, "min_updates"):
        return f"That is a strategy. Pass its rule, `{inside!r}`, from `flwr_byzantine.rules`."
    if hasattr(found, "steps"):  # a pre-aggregation alone
        return "Put a rule behind it: `NearestNeighborMixing(4) >> Phocas(4)`."
    return "Pass one of `flwr_byzantine.rules`."


def require(
    holds: bool, name: str, expected: str, value: object, advice: str, *, owner: str = ""
) -> None:
    """Raise :class:`ParameterError` unless a condition holds. See :func:`wrong`."""
    if not holds:
        raise wrong(name, expected, value, advice, owner=owner)


def require_whole(name: str, value: object, least: int, advice: str, *, owner: str = "") -> None:
    """Raise unless a parameter is a whole number of at least ``least``."""
    holds = is_whole(value) and value >= least  # type: ignore[operator]
    require(holds, name, f"a whole number of at least {least}", value, advice, owner=owner)


def require_finite(name: str, value: object, advice: str = "Write it as 0.5 or 1e20.") -> None:
    """Raise unless a parameter is a finite number."""
    holds = is_number(value) and not isinstance(value, bool)
    require(holds, name, "a finite number", value, advice)


def require_choice(name: str, value: object, choices: Sequence[str], advice: str) -> None:
    """Raise unless a parameter is one of several words."""
    known = isinstance(value, str) and value in choices
    require(known, name, f"one of {tuple(choices)}", value, advice)


def require_bool(name: str, value: object) -> None:
    """Raise unless a parameter is True or False."""
    require(isinstance(value, bool), name, "True or False", value, "Leave it out for the default.")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number. True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number of Python or numpy. Python's booleans count as 0 and 1."""
    if not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


@contextmanager
def in_words(words: Mapping[str, str]) -> Iterator[None]:
    """Give errors of some parameters other names of these parameters.

    Examples
    --------
    >>> with in_words({"num_byzantine": "num_malicious_clients"}):
    ...     require_whole("num_byzantine", -1, 0, "Pass their number.")
    Traceback (most recent call last):
    ...
    flwr_byzantine.checks.ParameterError: Parameter `num_malicious_clients` should be a whole number of \
at least 0. Found `num_malicious_clients = -1`. Pass their number.
    """
    try:
        yield
    except ParameterError as error:
        if error.parameter not in words:
            raise
        raise error.renamed(words[error.parameter]) from None
