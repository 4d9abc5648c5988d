"""Numbers that others have published, as data: what the report puts beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = (
    float | tuple[float, float]
)  # in percent; two are the least and the largest of what is told
Taken = Literal["final", "last five", "best"]


class NumbersOf(BaseModel):
    """The numbers of a figure.

    Each rule has one for each attack and variant, in this order, and the variants of one attack stand
    together. Where the least over the attacks is told, it has one for each variant. ``why`` says why a rule's
    numbers differ from ours, in place of what the publication's ``why`` says.
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
        Who, and where.
    taken : {"final", "last five", "best"}
        Of the mean over the seeds: the last evaluation, the mean of the last five, or the best one.
    worst : bool
        Whether they tell the least over the attacks.
    differs : float
        The points from which on a difference is explained.
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
        """Raise ValueError where numbers are about something that no figure has, or too few or many."""
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
