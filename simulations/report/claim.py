"""The papers' empirical claims as data: the files in `simulations/report/claims`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulations.measure.measures import MEASURES
from simulations.report.view import Place

FOLDER = Path(__file__).parent / "claims"
BY_ATTACK = ("no_test", "cause", "why")  # with `each`, these may differ by attack
Cause = Literal["scale", "seed noise", "bound", "paper", "ours"]


class Reference(BaseModel):
    """The place of the run to compare with. A field that is None is the same as for the compared run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    figure: str | None = None
    rule: str | None = None
    attack: str | None = None
    variant: str | None = None

    def of(self, place: Place) -> Place:
        """Return the place to compare a place with."""
        return place._replace(**self.model_dump(exclude_none=True))


class Claim(BaseModel):
    """A sentence of a paper, what is measured, and the bounds that decide it.

    The claim is about all rules, attacks and variants that it names. It holds if all measurements are
    within the bounds. With ``some``, one of them is enough. With ``falling``, none may be higher than
    the one before. ``after`` says that the claim or its bound was chosen after results had been seen.
    ``no_test`` says why the measurement could not have refuted the claim. If the claim does not hold,
    ``cause`` and ``why`` say why not. The cause is the ``scale`` of our runs, ``seed noise``, a
    ``bound`` that is not the paper's own, the ``paper``, or ``ours``, if we built something differently.

    What a claim of a file leaves out, it takes from the file's table ``common``. With ``each`` it stands
    for one claim per attack. Then ``no_test``, ``cause`` and ``why`` may be tables by attack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str
    where: str
    says: str
    measure: str
    experiment: str
    figure: str
    rules: list[str] = Field(min_length=1)
    attacks: list[str] = Field([""], min_length=1)
    variants: list[str] = Field([""], min_length=1)
    against: Reference | None = None
    below: float = math.inf
    at_most: float = math.inf
    above: float = -math.inf
    at_least: float = -math.inf
    falling: bool = False
    some: bool = False
    after: bool = False
    no_test: str = ""
    cause: Cause | Literal[""] = ""
    why: str = ""

    @model_validator(mode="after")
    def _check(self) -> Claim:
        if self.measure not in MEASURES:
            raise ValueError(
                f"Parameter `measure` should be one of {', '.join(MEASURES)}. "
                f"Found `measure = {self.measure}`."
            )
        if not (self.bounds or self.falling):
            raise ValueError(f"Say what decides the claim `{self.says}`: a bound, or `falling`.")
        if bool(self.cause) != bool(self.why):
            raise ValueError(f"Say both `cause` and `why` of the claim `{self.says}`, or neither.")
        if self.cause and self.no_test:
            raise ValueError(
                f"The claim `{self.says}` is no test, so nothing refutes it: leave out `cause`."
            )
        return self

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        number = MEASURES[self.measure].number.replace("+", "").format
        given = {
            "below": self.below, "at most": self.at_most, "above": self.above, "at least": self.at_least
        }  # fmt: skip
        bounds = [f"{word} {number(x)}" for word, x in given.items() if math.isfinite(x)]
        return ", ".join([*bounds, "falling"] if self.falling else bounds)

    @property
    def measured(self) -> str:
        """What is measured, against what, and the bounds."""
        measured = f"{MEASURES[self.measure].words}: {self.bounds}{', *' if self.after else ''}"
        if self.against is None:
            return measured
        other = ", ".join(filter(None, self.against.model_dump(exclude_none=True).values()))
        return f"{measured} (reference: {other})"

    @property
    def places(self) -> list[Place]:
        """The places that the claim is about."""
        grid = product(self.rules, self.attacks, self.variants)
        return [Place(self.experiment, self.figure, *place) for place in grid]

    def within(self, value: float) -> bool:
        """Tell whether a measurement is within the bounds; NaN never is."""
        upper = value < self.below and value <= self.at_most
        return upper and value > self.above and value >= self.at_least


def load_claims() -> list[Claim]:
    """Read the claims of all papers.

    Raises
    ------
    ValueError
        If an entry of a file is no :class:`Claim`.
    """
    return [claim for path in sorted(FOLDER.glob("*.toml")) for claim in read_claims(path)]


def read_claims(path: Path) -> Iterator[Claim]:
    """Yield the claims of a file."""
    content = tomllib.loads(path.read_text())
    for entry in content["claims"]:
        entry = content["common"] | entry
        attacks = entry["attacks"] if entry.pop("each", False) else []
        for attack in attacks:
            said = entry["says"].format(attack=attack)
            own = {
                name: entry[name].get(attack, "")
                for name in BY_ATTACK
                if isinstance(entry.get(name), dict)
            }
            yield Claim(**entry | own | {"attacks": [attack], "says": said})
        if not attacks:
            yield Claim(**entry)
