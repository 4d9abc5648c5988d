"""A check for your own tests: what an app keeps under an attack."""

from __future__ import annotations

import os
from typing import Any

from flwr_byzantine.lab.flower_app import FlowerApp
from flwr_byzantine.lab.stress_app import stress


def assert_keeps(
    app: str | os.PathLike[str] | FlowerApp,
    at_least: float,
    *,
    rule: str,
    attack: str,
    **settings: Any,
) -> None:
    """Fail unless an app's metric stays good enough under an attack, for your own continuous integration.

    Parameters
    ----------
    app : str, Path or FlowerApp
        See :func:`stress`.
    at_least : float
        The least value that the metric should have after the last round. For a loss, it is the largest value.
    rule, attack : str
        Their names.
    **settings
        The other parameters of :func:`stress`.

    Raises
    ------
    AssertionError
        If the metric is worse. The text says which value the app reached.
    """
    result = stress(app, rules=[rule], attacks=[attack], **settings)
    cell, low = result.cell(rule, attack), result.data["lower_is_better"]
    reached = cell["final"]
    kept = reached is not None and (reached <= at_least if low else reached >= at_least)
    if not kept:
        found = cell["error"] or reached
        raise AssertionError(
            f"{result.data['app']} should reach {result.data['metric']} of at {'most' if low else 'least'} "
            f"{at_least} under {attack}, with {rule} and {result.data['byzantine']} of "
            f"{result.data['clients']} nodes Byzantine. Found {found}. Try another rule, or lower the demand."
        )
