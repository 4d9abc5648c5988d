"""Reads ``-c`` and ``--run-config`` in the same way as ``flwr run``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flwr.common.config import flatten_dict

from flwr_byzantine.checks import ParameterError, wrong

PAIR = re.compile(r"""(?:^|(?<=\s))([^\s=]+)=('[^']*'|"[^"]*"|\S+)(?=\s|$)""")
USAGE = "Write pairs such as `-c 'lr=0.1 name=\"a\" shuffle=true'`, with text in quotes, or name a TOML file."


def read_config(options: Sequence[str]) -> dict[str, Any]:
    """The run configuration in options: pairs of keys and values, or the name of a TOML file.

    Parameters
    ----------
    options : Sequence[str]
        The text behind each ``-c``. If a key has two values, the last one counts.

    Raises
    ------
    ValueError
        If an option is neither.

    Examples
    --------
    >>> read_config(["lr=0.1 name='a b'", "model.layers=2"])
    {'lr': 0.1, 'name': 'a b', 'model.layers': 2}
    """
    files = [option for option in options if option.strip().endswith(".toml") and "=" not in option]
    if files and len(options) > 1:
        raise _wrong(files[0], "a file together with other values")
    if files:
        return _read_file(files[0].strip())
    found: dict[str, Any] = {}
    for option in options:
        rest = PAIR.sub("", option).split()
        if rest:
            raise _wrong(option, f"{rest[0]!r} is no pair of a key and a value")
        for key, value in PAIR.findall(option):
            found |= _read_pair(option, key, value)
    return found


def _read_file(name: str) -> dict[str, Any]:
    try:
        read = tomllib.loads(Path(name).expanduser().read_text("utf-8"))
        return dict(flatten_dict(read))
    except OSError as error:
        raise _wrong(name, error.strerror or "it cannot be read") from None
    except ValueError as error:  # it is no TOML, or it holds lists
        raise _wrong(name, " ".join(str(error).split())) from None


def _read_pair(option: str, key: str, value: str) -> dict[str, Any]:
    try:
        return dict(flatten_dict(tomllib.loads(f"{key} = {value}")))
    except ValueError:
        text = re.fullmatch(r"[^\W\d][\w./-]*", value) is not None
        reason = f"the value of {key!r} is text without quotes" if text else f"{key}={value}"
        raise _wrong(option, reason) from None


def _wrong(option: str, reason: str) -> ParameterError:
    expected = "pairs of the form key=value, the same as for `flwr run`"
    return wrong(
        "run-config", expected, option, USAGE, found=f"`--run-config {option!r}`: {reason}"
    )
