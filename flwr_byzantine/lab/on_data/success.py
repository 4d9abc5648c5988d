"""How often a backdoor works: the app evaluates its model again, on samples with the trigger."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from flwr_byzantine.lab.on_data.changes import Triggered
from flwr_byzantine.lab.on_data.node import ADVICE, CANNOT, TRIGGERED, changed, ordered
from flwr_byzantine.lab.scores import Curves
from flwr_byzantine.lab.watching import Returned, WatchingGrid, weighted_means

OWN = re.compile(
    r"success|(?<![a-z])asr(?![a-z])"
)  # names of an app's own metrics for the same thing
SHARE_OF_RIGHT = re.compile(r"acc|top_?-?1\b|correct")


@dataclass(frozen=True)
class Success:
    """How often the backdoor works.

    Parameters
    ----------
    rate : float or None
        The share of samples of other classes that the model takes for the target class if they have the
        trigger.
    note : str or None
        Why the rate is not known.
    """

    rate: float | None = None
    note: str | None = None


def success_of(
    curves: Mapping[str, Curves],
    returned: Returned,
    watched: WatchingGrid,
    leave_out: Collection[int],
) -> Success:
    """Let an app that has run evaluate its last model once more, with the trigger in all samples.

    Parameters
    ----------
    curves : Mapping[str, Curves]
        What the app reported during the run, by source.
    returned : Returned
        What the server's loop was called with, and what it returned.
    watched : WatchingGrid
        The grid of the nodes.
    leave_out : Collection[int]
        Nodes that do not evaluate.
    """
    own = _own(curves)
    if own is not None:
        return Success(own)
    reasons = []
    for source in ("server", "evaluation"):
        if not curves.get(source):
            continue
        is_server = source == "server"
        metrics, reason = _by_server(returned) if is_server else _by_nodes(watched, leave_out)
        if reason is None:
            return _among(metrics, curves[source])
        reasons.append(reason)
    said = reasons[0] if reasons else "neither the server nor the nodes evaluate"
    return Success(note=f"The attack success rate could not be measured: {said}.")


def _own(curves: Mapping[str, Curves]) -> float | None:
    """The rate that the app itself reports after the last round."""
    for curve in curves.values():
        for name, value in curve[max(curve)].items() if curve else ():
            if OWN.search(name.lower()):
                return value
    return None


def _by_server(returned: Returned) -> tuple[Mapping[str, Any], str | None]:
    if returned.evaluate is None:
        return {}, "the server's own evaluation cannot be called again"
    evaluate = returned.evaluate
    try:
        found, reason = changed(Triggered(), evaluate)
    except Exception as error:
        return {}, f"the server's evaluation failed ({type(error).__name__}: {_line(error)})"
    return found or {}, reason


def _by_nodes(
    watched: WatchingGrid, leave_out: Collection[int]
) -> tuple[Mapping[str, Any], str | None]:
    """Send the last messages to honest nodes again, with an order to evaluate samples with the trigger."""
    asked = [m for node, m in watched.evaluated_last().items() if node not in leave_out]
    if not asked:
        return {}, "no honest node was asked to evaluate the last model"
    again = WatchingGrid(watched.grid)
    messages = []
    for message in asked:
        sent = copy(message)
        vars(sent)["_metadata"] = copy(message.metadata)
        sent.content = ordered(message.content, TRIGGERED)
        messages.append(sent)
    again.send_and_receive(messages)
    means = weighted_means(again.reports, "evaluate", ())
    if not means:
        reason = again.errors[0] if again.errors else "no node answered"
        return {}, _line(reason).removeprefix(f"{CANNOT}: ").removesuffix(f". {ADVICE}.")
    return means[max(means)], None


def _among(metrics: Mapping[str, Any], before: Curves) -> Success:
    """Find the share of right labels among the metrics of an evaluation."""
    for name, value in metrics.items():
        if SHARE_OF_RIGHT.search(name.lower()) and isinstance(value, int | float):
            usual = [m[name] for m in before.values() if math.isfinite(m.get(name, math.nan))]
            whole = 100.0 if max(usual, default=0.0) > 1 else 1.0  # some count in per cent
            rate = float(value) / whole
            if math.isfinite(rate):
                return Success(min(max(rate, 0.0), 1.0))
    return Success(
        note="The attack success rate could not be measured: the app reports no accuracy."
    )


def _line(error: object) -> str:
    return " ".join(str(error).split())
