"""Experiments: the runs behind the papers' figures and tables, read from TOML files."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulations.config import RunConfig
from simulations.sweep.publication import Published

FOLDER = Path(__file__).parent.parent / "experiments"
NAMES = tuple(path.stem for path in sorted(FOLDER.glob("*.toml")))
PLACES = (
    "data_dir",
    "download",
)  # these do not change the result, unless the folder is the dataset
GIVEN = ("seed", *PLACES)  # settings that a file may not have
# Settings that are newer than kept results. They are part of a cell's name only if they are not the default.
YOUNGER = (
    "momentum",
    "partition_among",
    "gamma",
    "classes_per_client",
    "weight_decay",
    "learning_rate_decay",
    "evaluate_on",
    "clients_per_round",
    "stragglers",
)
Profile = Literal["quick", "paper"]
Group = Literal["papers", "study"]
View = Literal["worst_case", "wrong_f", "fairness", "holdings"]
Seeds = Annotated[list[int], Field(min_length=1)]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One run of an experiment, by its place in the figure and its configuration."""

    experiment: str
    figure: str
    rule: str
    attack: str
    variant: str
    seed: int
    config: RunConfig

    @property
    def key(self) -> str:
        """A name that is unique for the configuration. It does not depend on where the data are."""
        defaults = RunConfig.model_fields
        unsaid = [name for name in YOUNGER if getattr(self.config, name) == defaults[name].default]
        told = self.config.model_dump(exclude={*self.places, *unsaid})
        described = json.dumps(told, sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    @property
    def places(self) -> tuple[str, ...]:
        """The settings that only say where things are on this machine."""
        return PLACES[1:] if self.config.dataset == "image-folder" else PLACES

    @property
    def name(self) -> str:
        """The cell in words."""
        parts = (self.rule, self.attack, self.variant, f"seed {self.seed}")
        return f"{self.experiment}, {self.figure}: {', '.join(part for part in parts if part)}"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scale(_Strict):
    """The scale of an experiment: settings, seeds, and a note on what is smaller than in the paper."""

    note: str
    seeds: Seeds
    settings: Settings = {}


class Figure(_Strict):
    """A grid of rules, attacks and variants.

    ``settings`` hold for all runs, and those under ``quick`` or ``paper`` only for that profile. ``seeds``
    replace the seeds of a profile. ``views`` and ``curves`` replace those of the experiment.
    """

    title: str
    rules: list[str]
    attacks: list[str]
    variants: dict[str, Settings] = {"": {}}
    without: list[list[str]] = []  # pairs of rule and attack that make no sense
    settings: Settings = {}
    quick: Settings = {}
    paper: Settings = {}
    seeds: dict[Profile, Seeds] = {}
    views: list[View] | None = None
    curves: bool | None = None


class Experiment(_Strict):
    """A file of `simulations/experiments`.

    A run's settings are those of the experiment, its profile, the figure, the rule, the attack and the
    variant. If two of them set the same thing, the later one counts. Experiments of the group ``study`` run
    only on request. ``views`` are the pictures that the report draws besides the usual ones, and ``curves``
    says whether it draws quantities over the rounds. ``leads`` is the figure whose worst case the report
    begins with.
    """

    name: str
    title: str
    source: str
    about: str = ""  # what differs from the source at any scale, and why
    group: Group = "papers"
    metric: Literal["accuracy", "top3"] = "accuracy"  # the accuracy by which it is judged
    views: list[View] = []
    leads: str = ""
    curves: bool = True
    settings: Settings
    profiles: dict[Profile, Scale]
    rules: dict[str, Settings]
    attacks: dict[str, Settings]
    figures: dict[str, Figure]
    published: Published | None = None  # what others report about these runs

    @model_validator(mode="after")
    def _check(self) -> Experiment:
        if self.published is not None:
            self.published.check(self.figures)
        for title, figure in self.figures.items():
            for kind, used, known in (
                ("rules", figure.rules, self.rules),
                ("attacks", figure.attacks, self.attacks),
            ):
                if unknown := set(used) - set(known):
                    raise ValueError(
                        f"Parameter `{kind}` of the figure `{title}` should be made of "
                        f"{', '.join(known)}. Found {sorted(unknown)}. Describe them under `{kind}`."
                    )
            pairs = [[rule, attack] for rule in figure.rules for attack in figure.attacks]
            if unknown_pairs := [pair for pair in figure.without if pair not in pairs]:
                raise ValueError(
                    f"Parameter `without` of the figure `{title}` should hold pairs of its rules and "
                    f"attacks. Found {unknown_pairs}. Correct them."
                )
            if unscaled := set(figure.seeds) - set(self.profiles):
                raise ValueError(
                    f"Parameter `seeds` of the figure `{title}` should be for one of the profiles "
                    f"{', '.join(self.profiles)}. Found {sorted(unscaled)}. Leave it out."
                )
        if self.leads and self.leads not in self.figures:
            raise ValueError(
                f"Parameter `leads` should be one of the figures {', '.join(self.figures)}. "
                f"Found `leads = {self.leads}`."
            )
        tables = [self.settings, *self.rules.values(), *self.attacks.values()]
        tables += [scale.settings for scale in self.profiles.values()]
        for figure in self.figures.values():
            tables += [figure.settings, figure.quick, figure.paper, *figure.variants.values()]
        if given := {name for table in tables for name in table if name in GIVEN}:
            raise ValueError(
                "Seeds belong in `seeds` of a profile, and places belong in the options of `sweep`. "
                f"Found {sorted(given)} among the settings. Leave them out."
            )
        return self

    def cells(
        self, profile: Profile, data_dir: str = "data", download: bool = False
    ) -> Iterator[Cell]:
        """Yield the runs of a profile, figure by figure and seed by seed.

        Raises
        ------
        ValueError
            If there is no such profile, or the settings of a run are wrong.
        """
        if profile not in self.profiles:
            raise ValueError(
                f"Parameter `profile` should be one of {', '.join(self.profiles)}, those of "
                f"{self.name}. Found `profile = {profile}`."
            )
        scale = self.profiles[profile]
        for title, figure in self.figures.items():
            own = figure.quick if profile == "quick" else figure.paper
            seeds = figure.seeds.get(profile, scale.seeds)
            grid = product(seeds, figure.rules, figure.attacks, figure.variants)
            for seed, rule, attack, variant in grid:
                if [rule, attack] in figure.without:
                    continue
                settings = (
                    self.settings | scale.settings | figure.settings | own
                    | self.rules[rule] | self.attacks[attack] | figure.variants[variant]
                )  # fmt: skip
                config = RunConfig(**settings, seed=seed, data_dir=data_dir, download=download)
                yield Cell(self.name, title, rule, attack, variant, seed, config)


def load_experiment(path: Path) -> Experiment:
    """Read an experiment from its file.

    Raises
    ------
    ValueError
        If the file does not describe an :class:`Experiment`.
    """
    return Experiment(name=path.stem, **tomllib.loads(path.read_text()))


def names_of(group: Group) -> list[str]:
    """Return the names of this project's experiments of a group."""
    return [name for name in NAMES if load_experiment(FOLDER / f"{name}.toml").group == group]
