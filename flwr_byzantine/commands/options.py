"""Options of the command line: numbers that users write, and errors in the words of the options."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from fractions import Fraction

from flwr_byzantine.checks import wrong


def as_options(text: str, options: Mapping[str, str], flags: Collection[str] = ()) -> str:
    """Write the parameters that a text names as options of the command line.

    Parameters
    ----------
    text : str
        The text of an error.
    options : Mapping[str, str]
        Parameter -> its option.
    flags : Collection[str]
        Those parameters whose options take no value.

    Examples
    --------
    >>> as_options("Parameter `seeds` should be 1. Found `seeds = 0`.", {"seeds": "--seeds"})
    'Parameter `--seeds` should be 1. Found `--seeds 0`.'
    """

    def option(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        written = options[name]
        return f"`{written}`" if value is None or name in flags else f"`{written} {value}`"

    return re.sub(rf"`(?P<name>{'|'.join(options)})(?: = (?P<value>[^`]*))?`", option, text)


def whole(name: str, text: str, example: str) -> int:
    """Read a whole number. Raise ParameterError for any other text."""
    if not re.fullmatch(r"[+-]?[0-9][0-9_]*", text.strip()):
        found = f"`{name} = {text}`"
        raise wrong(name, "a whole number", text, f"Write it as {example}.", found=found)
    return int(text)


def number(name: str, text: str, example: str) -> float:
    """Read a number. Raise ParameterError for any other text."""
    try:
        return float(text)
    except ValueError:
        found = f"`{name} = {text}`"
        raise wrong(name, "a number", text, f"Write it as {example}.", found=found) from None


def part_of(name: str, text: str, total: int) -> int:
    """Read how many of all there are: a number, or a share such as 10%, which is rounded up.

    Examples
    --------
    >>> part_of("byzantine", "3", 25), part_of("byzantine", "10%", 25)
    (3, 3)
    """
    if not text.strip().endswith("%"):
        return whole(name, text, "10, or as a share such as 10%")
    expected, found = "a share from 0% to 100%", f"`{name} = {text}`"
    try:
        share = Fraction(text.strip()[:-1]) / 100
    except (ValueError, ZeroDivisionError):
        raise wrong(name, expected, text, "Write it as 10%.", found=found) from None
    if not 0 <= share <= 1:
        raise wrong(name, expected, text, "Write it as 10%.", found=found)
    return math.ceil(share * total)
