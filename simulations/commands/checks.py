"""What the command line checks before anything trains, and how it says what is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from flwr_byzantine.commands import options
from simulations.catalog import datasets
from simulations.catalog.own import is_path
from simulations.config import RunConfig
from simulations.federation.fitting import check_fits
from simulations.federation.meant import check_meant
from simulations.sweep.experiment import (
    FOLDER,
    NAMES,
    Experiment,
    Group,
    Profile,
    load_experiment,
    names_of,
)

console = Console()


def fail(message: str) -> typer.Exit:
    """Print a message in red without breaking its lines, and return the exit to raise."""
    console.print(f"[red]{escape(message)}[/red]", soft_wrap=True)
    return typer.Exit(1)


def explain(error: ValidationError) -> str:
    """Say in one line for each option what was wrong and what was expected."""
    lines = []
    for detail in error.errors():
        name = ".".join(str(part) for part in detail["loc"])
        found = f" Found `{name} = {detail['input']}`." if name else ""
        message = detail["msg"].removeprefix("Value error, ").rstrip(".")
        end = "" if message.endswith("?") else "."
        if detail["type"] in ("missing", "extra_forbidden") or "Found `" in message:
            found = ""
        if detail["type"] == "missing":
            message = "It is missing"
        if detail["type"] == "extra_forbidden":
            message = "There is no such setting: correct its name, or leave it out"
        lines.append(f"{f'Parameter `{name}`: ' if name else ''}{message}{end}{found}")
    return "\n".join(dict.fromkeys(lines))


def said(error: Exception) -> str:
    """Say what an error is about. For pydantic's errors, use the names that the user wrote."""
    return explain(error) if isinstance(error, ValidationError) else str(error)


def as_options(text: str) -> str:
    """Write the settings of a run that a text names as options of the command line."""
    fields = RunConfig.model_fields
    flags = [name for name, field in fields.items() if field.annotation is bool]
    written = {name: f"--{name.replace('_', '-')}" for name in fields}
    return options.as_options(text, written, flags)


def configured(given: Mapping[str, Any]) -> RunConfig:
    """Return the run that the options describe. Exit if they describe none."""
    try:
        return RunConfig.from_options(given)
    except (ValueError, TypeError) as error:
        raise fail(as_options(said(error))) from error


def check_out(folder: Path) -> None:
    """Exit if nothing can be written into a folder, which need not exist yet."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = "is a file" if there.is_file() else f"cannot be written: {error.strerror}"
        raise fail(
            f"Parameter `--out` should be a folder in which you may write. Found `--out {folder}`, but "
            f"{there} {why}. Name another folder."
        ) from error


def check_data(configs: Iterable[RunConfig], words: Callable[[str], str] = str) -> None:
    """Exit if the data of a run are missing. Download them if that is allowed.

    ``words`` writes the names in an error as the user wrote them.
    """
    for name, data_dir, download in sorted({(c.dataset, c.data_dir, c.download) for c in configs}):
        try:
            datasets.check_there(name, data_dir, download)
        except (OSError, ValueError, RuntimeError) as error:
            missing = "" if is_path(name) else f"The dataset {name} is not there. "
            raise fail(words(f"{missing}{error}")) from error


def check_own(configs: Iterable[RunConfig]) -> None:
    """Exit if a run cannot work with a model or with data of the user's own."""
    own = [config for config in configs if is_path(config.model) or is_path(config.dataset)]
    for config in sorted(own, key=lambda config: config.dataset):
        try:
            check_fits(config)
        except ValueError as error:
            raise fail(str(error)) from error
    datasets.load.cache_clear()


def check_alone(config: RunConfig) -> None:
    """Exit if a run of its own has settings that do nothing, attackers without an attack, or the reverse."""
    try:
        check_meant(config)
    except ValueError as error:
        raise fail(as_options(str(error))) from error


def named(
    paths: list[Path] | None, profile: Profile, group: Group | None = None
) -> list[Experiment]:
    """Return the experiments that have these names or files. Without any, return those of a group."""
    if paths and group:
        raise fail(
            f"Give names of experiments, or a group of them. Found {', '.join(map(str, paths))} and "
            f"--group {group}. Leave one of them out."
        )
    found = []
    for path in paths or [Path(name) for name in names_of(group or "papers")]:
        file = FOLDER / f"{path}.toml" if str(path) in NAMES else path
        try:
            found.append(load_experiment(file))
            list(found[-1].cells(profile))  # these raise an error for wrong settings
        except OSError as error:
            raise fail(
                f"There is no experiment {path}. Give a TOML file, or one of {', '.join(NAMES)}."
            ) from error
        except (ValueError, TypeError) as error:  # of pydantic, tomllib and RunConfig
            raise fail("\n".join(f"{file}: {line}" for line in said(error).splitlines())) from error
    return found


def check_figure(found: list[Experiment], figure: str) -> None:
    """Exit if no experiment has a figure. An empty name stands for all figures."""
    figures = [*dict.fromkeys(name for own in found for name in own.figures)]
    if figure and figure not in figures:
        raise fail(f"There is no figure {figure}. Give one of {', '.join(figures)}.")
