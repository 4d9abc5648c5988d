"""The command line that repeats a stress test."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from flwr_byzantine.lab.flower_app import FlowerApp


def command_of(
    app: str | os.PathLike[str] | FlowerApp,
    pairs: Sequence[tuple[str, str]],
    config: Mapping[str, Any],
    **options: Any,
) -> str:
    """The command line that runs the same stress test again.

    Parameters
    ----------
    app : str, Path or FlowerApp
        The app.
    pairs : Sequence[tuple[str, str]]
        Rule and attack of each run.
    config : Mapping[str, Any]
        Values of the app's configuration.
    **options
        Other parameters of :func:`flwr_byzantine.lab.stress`. Those that are None are left out.

    Examples
    --------
    >>> command_of("app", [("median", "lie")], {"lr": 0.1}, jobs=2, lower_is_better=False)
    'flwr-byzantine stress app --rules median --attacks lie --jobs 2 --higher-is-better -c lr=0.1'
    """
    rules, attacks = (",".join(dict.fromkeys(names)) for names in zip(*pairs, strict=True))
    folder = app.folder or app.name if isinstance(app, FlowerApp) else os.fspath(app)
    words = ["flwr-byzantine", "stress", folder, "--rules", rules, "--attacks", attacks]
    for name, value in options.items():
        if name == "lower_is_better" and value is not None:
            words.append("--lower-is-better" if value else "--higher-is-better")
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    for key, value in config.items():
        words += ["-c", f"{key}={_as_toml(value)}"]
    return shlex.join(words)


def _as_toml(value: Any) -> str:
    """A value as ``-c`` reads it. A text may not contain the quote that is around it."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)[1:-1]
        inner = re.sub(r"\\(.)", lambda m: "\\u0022" if m[1] == '"' else m[0], text)
        return f'"{inner}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    return repr(float(value)) if isinstance(value, Real) else str(value)
