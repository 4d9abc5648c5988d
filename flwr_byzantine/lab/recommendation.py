"""Which rule to take. The decision depends on the points that each rule loses at worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flwr_byzantine.checks import is_number
from flwr_byzantine.lab.cell import APP, NONE
from flwr_byzantine.lab.on_data.node import CANNOT
from flwr_byzantine.lab.page.text import points_in_words

CLOSE = 1.0  # a rule is as good as the best one if it loses at most these points more at worst
AS_QUICK = 1.1  # a rule is as quick as the cheapest one up to this multiple of its time
Cells = Sequence[Mapping[str, Any]]


class Worst(NamedTuple):
    """The worst case of a rule.

    Parameters
    ----------
    lost : float
        The points lost; infinity if a run gave no result.
    success : float
        How many of these points stand for the success of a backdoor.
    attack : str
        The attack under which they are lost.
    """

    lost: float
    success: float
    attack: str

    @property
    def under(self) -> str:
        """The attack, in words."""
        under = "without an attack" if self.attack == NONE else f"under {self.attack}"
        if self.success >= 0.05:
            under += f", {self.success:.1f} of them because the backdoor works"
        return f"({under})"


def worst_of(cells: Cells) -> dict[str, Worst]:
    """Rule -> its worst case.

    The success of a backdoor counts like lost accuracy. One point is one per cent of the samples with the
    trigger that the model takes for the target class, beyond the app's own share without an attack.

    Parameters
    ----------
    cells : Sequence[Mapping[str, Any]]
        The result of :func:`flwr_byzantine.lab.results.cells_of`.
    """
    usual = next(
        (c.get("attack_success_rate") for c in cells if (c["rule"], c["attack"]) == (APP, NONE)),
        None,
    )
    worst: dict[str, Worst] = {}
    for cell in cells:
        works, lost = cell.get("attack_success_rate"), cell["lost"]
        success = 0.0
        if works is not None and cell["attack"] != NONE:
            success = max(0.0, 100 * (works - (usual or 0.0)))
        found = Worst(lost + success if is_number(lost) else math.inf, success, cell["attack"])
        worst[cell["rule"]] = max(worst.get(cell["rule"], found), found)
    return worst


def recommend(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cheapest rule within a point of the best worst case, or none, with the reason.

    If several rules cost the same, it is the one that loses least at worst.

    Parameters
    ----------
    cells : Sequence[Mapping[str, Any]]
        The result of :func:`cells_of`.
    """
    unmade = {c["attack"] for c in cells if CANNOT in (c.get("error") or "")}
    found = _recommended([cell for cell in cells if cell["attack"] not in unmade])
    if unmade:
        found["reason"] += (
            f" Attacks that could not be made do not count: {', '.join(sorted(unmade))}."
        )
    unknown = {c["attack"] for c in cells if c.get("note") and c["attack"] != NONE} - unmade
    if unknown:
        found["reason"] += f" How often {', '.join(sorted(unknown))} works is not known."
    return found


def _recommended(cells: Cells) -> dict[str, Any]:
    worst = worst_of(cells)
    if APP not in worst:
        return {
            "rule": None,
            "reason": "The app itself was not run: there is nothing to compare with.",
        }
    if any(cell["lost"] is None for cell in cells if (cell["rule"], cell["attack"]) == (APP, NONE)):
        return {"rule": None, "reason": "The app came to no result without an attack."}
    unprotected = worst.pop(APP)
    if not worst:
        return {"rule": None, "reason": "No rule was run: there is nothing to recommend."}
    working = {rule: found for rule, found in worst.items() if found.lost < math.inf}
    if not working:
        return {"rule": None, "reason": "No rule came to a result under every attack."}
    if all(cell["attack"] == NONE for cell in cells):
        return {"rule": None, "reason": "No attack was run: nothing shows what a rule would save."}
    best = min(found.lost for found in working.values())
    if unprotected.lost <= CLOSE or best >= unprotected.lost - CLOSE:
        reason = (
            f"None: the defence costs more than these attacks. Without a rule the app "
            f"{_loses(unprotected.lost)} at worst {unprotected.under}, and with the best rule it "
            f"{_loses(best)}."
        )
        return {"rule": None, "reason": reason}
    close = [rule for rule, found in working.items() if found.lost <= best + CLOSE]
    least = _seconds(cells, APP)  # no rule is quicker than none: less is the machine's noise
    seconds = {rule: max(least, _seconds(cells, rule)) for rule in close}
    quick = [rule for rule in close if seconds[rule] <= AS_QUICK * min(seconds.values())]
    rule = min(quick, key=lambda rule: working[rule].lost)
    without = "fails" if unprotected.lost == math.inf else _loses(unprotected.lost)
    found = working[rule]
    reason = (
        f"{rule} {_loses(found.lost)} at worst {found.under}, where the app without a rule {without} "
        f"{unprotected.under}."
    )
    for others, but in (
        ([other for other in quick if other != rule], "no quicker"),
        ([other for other in close if other not in quick], "slower"),
    ):
        if others:
            reason += f" Also within a point of the best, but {but}: {', '.join(others)}."
    return {"rule": rule, "reason": reason}


def _loses(lost: float) -> str:
    """Say how many points an app loses or gains."""
    return f"gains {points_in_words(-lost)}" if lost <= -0.05 else f"loses {points_in_words(lost)}"


def _seconds(cells: Cells, rule: str) -> float:
    """Seconds per round in the fastest run of a rule. Slower runs waited for other programs."""
    taken = [c["seconds_per_round"] for c in cells if c["rule"] == rule]
    return float(min([seconds for seconds in taken if seconds is not None] or [math.inf]))
