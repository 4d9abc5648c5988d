"""Values of an app's run configuration that a user changes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from flwr_byzantine.checks import wrong

ADVICE = "`flwr run` takes whole numbers, numbers, texts, and true or false."


def check_config(defaults: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Raise unless an app has all of the keys, and each value is of the kind that it has there.

    Numbers may be whole or not. A text that is empty stands for nothing, in whose place anything may come.

    Parameters
    ----------
    defaults : Mapping[str, Any]
        The app's own run configuration.
    changed : Mapping[str, Any]
        What takes the place of some of it.

    Raises
    ------
    ValueError
        Naming the key.
    """
    for key, value in changed.items():
        if key not in defaults:
            keys = ", ".join(defaults) or "nothing: the app has no configuration"
            raise wrong("config", f"made of {keys}", key, "These are the app's keys.")
        kind, usual = _kind(value), _kind(defaults[key])
        if kind is None or (kind != usual and defaults[key] != ""):
            advice = ADVICE if kind is None else f"The app's own value is {defaults[key]!r}."
            found = f"`{key} = {value!r}`"
            raise wrong("config", f"{usual or 'a value'} for `{key}`", value, advice, found=found)


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    return "a number" if isinstance(value, Real) else None
