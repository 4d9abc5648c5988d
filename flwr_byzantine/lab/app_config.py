"""Values of an app's run configuration that a user changes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from flwr_byzantine.checks import wrong

ADVICE = "`flwr run` takes whole numbers, numbers, texts, and true or false."


def check_config(defaults: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    """Raise unless the app's configuration has all of the keys, and each value has the kind of the app's own.

    A number may replace any other number. If the app's own value is an empty text, any value is allowed.

    Parameters
    ----------
    defaults : Mapping[str, Any]
        The app's own run configuration.
    changed : Mapping[str, Any]
        The values that the user sets instead.

    Raises
    ------
    ValueError
        If a key is missing or a value has another kind. The error names the key.
    """
    for key, value in changed.items():
        if key not in defaults:
            keys = ", ".join(defaults) or "nothing: the app has no configuration"
            raise wrong(
                "config",
                f"made of {keys}",
                key,
                "These are the app's keys. Correct the key, or leave it out.",
            )
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
