"""Numbers that others have published, as data. The report shows them beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = float | tuple[float, float]  # in percent; two are the ends of a published range
Taken = Literal["final", "last five", "best"]


class NumbersOf(BaseModel):
    """The numbers of a figure.

    Each rule has one number for each variant of the first attack, then for each variant of the second, and
    so on. If only the least over the attacks is published, it has one for each variant. ``why`` says why a
    rule's numbers differ from ours. It replaces the publication's ``why``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: str
    attacks: list[str] = Field(min_length=1)
    variants: list[str] = Field([""], min_length=1)
    rules: dict[str, list[Number]]
    why: dict[str, str] = {}


class Published(BaseModel):
    """What somebody has published of the runs of an experiment.

    Parameters
    ----------
    source : str
        Who published them, and where.
    taken : {"final", "last five", "best"}
        Which evaluation of the mean over the seeds it is: the last, the mean of the last five, or the best.
    worst : bool
        Whether each number is the least over the attacks.
    differs : float
        The report explains differences of more points than this.
    why : str
        Why their numbers and ours may differ.
    numbers : list of NumbersOf
        The numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    taken: Taken = "final"
    worst: bool = False
    differs: float = 3.0
    why: str
    numbers: list[NumbersOf]

    def check(self, figures: Mapping[str, Any]) -> None:
        """Raise ValueError if numbers are about what no figure has, or if there are too few or too many."""
        for own in self.numbers:
            if own.figure not in figures:
                raise ValueError(
                    f"The published numbers should be of a figure: {', '.join(figures)}. Found "
                    f"`{own.figure}`. Correct it, or add the figure."
                )
            figure = figures[own.figure]
            unknown = {*own.rules, *own.why} - {*figure.rules}
            unknown |= {*own.attacks} - {*figure.attacks} | {*own.variants} - {*figure.variants}
            if unknown:
                raise ValueError(
                    f"The published numbers should be about what the figure `{own.figure}` has. Found "
                    f"{sorted(unknown)}. Correct them, or add the cells."
                )
            many = len(own.variants) * (1 if self.worst else len(own.attacks))
            if wrong := [rule for rule, numbers in own.rules.items() if len(numbers) != many]:
                raise ValueError(
                    f"The published numbers of the figure `{own.figure}` should be {many} for each rule. "
                    f"Found another number for {', '.join(wrong)}."
                )
