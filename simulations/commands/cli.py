"""The command line: ``python -m simulations``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from flwr_byzantine.lab.kept import Kept, replace_file
from simulations.commands.checks import (
    as_options,
    check_alone,
    check_data,
    check_figure,
    check_out,
    check_own,
    configured,
    console,
    fail,
    named,
)
from simulations.commands.display import accuracies, label, progress, table
from simulations.config import RunConfig
from simulations.demo.show import demo as run_demo
from simulations.federation.fitting import check_fits
from simulations.federation.runner import run_all
from simulations.measure.results import check_free, save
from simulations.report.board import scoreboard_table
from simulations.report.document import write_report
from simulations.report.holdings import draw_holdings
from simulations.report.reputations import plot_reputations
from simulations.report.view import Results
from simulations.sweep.cells import missing_cells
from simulations.sweep.experiment import NAMES, Group, Profile
from simulations.sweep.jobs import sweep as run_sweep
from simulations.sweep.machine import default_jobs

app = typer.Typer(
    help="Simulated federations with misbehaving clients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Out = Annotated[Path, typer.Option(help="The folder for what is written.")]
Picture = Annotated[Path, typer.Option(help="The file for the picture.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show what Flower and Ray log.")]


def option(name: str) -> inspect.Parameter:
    """Return the command-line option of a field of RunConfig."""
    field = RunConfig.model_fields[name]
    kind: Any = next((k for k in (bool, int, float) if field.annotation in (k, k | None)), str)
    unset = field.is_required() or field.default in (None, "", {})
    default = "" if unset else str(field.default)
    shown = default.lower() if kind is bool else default
    if "[default:" in str(field.description):
        shown = ""
    help_text = f"{field.description} [default: {shown}]" if shown else field.description
    annotation = Annotated[kind | None, typer.Option(help=escape(str(help_text)))]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def run(
    out: Out = Path("runs/run"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the result that is in the folder.")
    ] = False,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Run one federation and write its result.json."""
    config = configured(options)
    check_alone(config)
    check_out(out)
    check_data([config], as_options)
    try:
        check_free(out, overwrite)
        check_fits(config)
        with progress([config], console) as on_round:
            (result,) = run_all([config], on_round, verbose=verbose)
    except (ValueError, FileExistsError) as error:
        if verbose:
            raise
        raise fail(as_options(str(error))) from error
    except Exception as error:
        if verbose:
            raise
        raise fail(f"{type(error).__name__}: {error}") from error
    if isinstance(result, Exception):
        if verbose:
            raise result
        raise fail(f"{type(result).__name__}: {result}")
    console.print(table([result], [label(config)]))
    if failed := sum(record["num_failed"] for record in result["rounds"]):
        console.print(f"[yellow]Clients failed {failed} times. --verbose shows why.[/yellow]")
    console.print(f"Result: {save(result, out)}")
    figure = out / "reputations.svg"
    for suffix in (".svg", ".png"):
        figure.with_suffix(suffix).unlink(missing_ok=True)  # of an earlier run
    if "reputations" in result["rounds"][-1]:
        console.print(f"Figure: {plot_reputations(result, figure)}")


def _with_options(function: Any) -> Any:
    """Give a command one option for each field of RunConfig, in place of ``**options``."""
    own = inspect.signature(function, eval_str=True).parameters.values()
    parameters = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for p in own
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    ] + [option(name) for name in RunConfig.model_fields]
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


app.command()(_with_options(run))


def partition(out: Picture = Path("runs/partition.svg"), **options: Any) -> None:
    """Draw which client has which samples in a run, as one SVG file. The options are those of `run`."""
    config = configured(options)
    check_out(out.parent)
    check_data([config], as_options)
    try:
        drawn = draw_holdings(config)
    except (OSError, ValueError) as error:
        raise fail(as_options(str(error))) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"Picture: {replace_file(out, drawn.encode())}")


app.command()(_with_options(partition))


@app.command()
def demo(out: Out = Path("runs/demo"), verbose: Verbose = False) -> None:
    """Show that FedAvg breaks under attack, and that robust rules go on learning."""
    check_out(out)
    try:
        holds = run_demo(out, console, verbose)
    except Exception as error:
        if verbose:
            raise
        raise fail(f"{type(error).__name__}: {error}") from error
    raise typer.Exit(0 if holds else 1)


BENCH = Path("docs/results/benchmark/bench.json")
Experiments = Annotated[
    list[Path] | None,
    typer.Argument(help=f"TOML files, or names: {', '.join(NAMES)}. [default: those of the group]"),
]
OfGroup = Annotated[
    Group | None,
    typer.Option(
        help="All experiments of a group, in place of names: those of the papers, or this project's own "
        "study. [default: papers]"
    ),
]
Scale = Annotated[Profile, typer.Option(help="The scale: quick, or as in the paper.")]
OneFigure = Annotated[str, typer.Option(help="Only this figure of the experiments.")]
DataDir = Annotated[str, typer.Option(help="The folder that holds MNIST/raw and cifar10/train.")]


@app.command()
def sweep(
    experiments: Experiments = None,
    profile: Scale = "quick",
    group: OfGroup = None,
    out: Out = Path("runs/sweep"),
    data_dir: DataDir = "data",
    download: Annotated[
        bool, typer.Option("--download", help="Download missing datasets.")
    ] = False,
    figure: OneFigure = "",
    jobs: Annotated[
        int,
        typer.Option(
            min=0, help="How many federations run at once. 0: as many as fit; one with Ray."
        ),
    ] = 0,
    ray: Annotated[bool, typer.Option("--ray", help="Run clients in Ray, as `run` does.")] = False,
    verbose: Verbose = False,
) -> None:
    """Run those cells of experiments that are missing in a folder. You can interrupt it at any time."""
    found = named(experiments, profile, group)
    cells = [cell for own in found for cell in own.cells(profile, data_dir, download)]
    check_figure(found, figure)
    cells = [cell for cell in cells if figure in ("", cell.figure)]
    check_out(out)
    missing = missing_cells(cells, out)
    check_data(cell.config for cell in missing)
    check_own(cell.config for cell in missing)
    asked = len({cell.key for cell in cells})
    there = asked - len(missing)
    outcome = run_sweep(cells, out, jobs or (1 if ray else default_jobs()), console, verbose, ray)
    run, failed = len(outcome.finished), len(outcome.failed)
    console.print(f"{asked} cells: {there} done before, {run} run, {failed} failed. Results: {out}")
    raise typer.Exit(1 if failed else 0)


@app.command()
def pack(folder: Annotated[Path, typer.Argument(help="The folder that `sweep` wrote.")]) -> None:
    """Move the cells in a folder into one compressed file there, which sweep and report read."""
    if not folder.is_dir():
        raise fail(f"There is no folder {folder}: give the one that `sweep --out` wrote into.")
    try:
        packed, cells = Kept(folder).pack()
    except ValueError as error:
        raise fail(str(error)) from error
    console.print(f"{cells} cells: {packed}")


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(help="The folder that `sweep` wrote, or a packed file.")
    ],
    experiments: Experiments = None,
    profile: Scale = "quick",
    group: OfGroup = None,
    figure: OneFigure = "",
    out: Out = Path("runs/report"),
    benchmark: Annotated[
        Path | None,
        typer.Option(
            help="The file that `python -m benchmarks` wrote, for the claims about cost. "
            f"[default: {BENCH}, if it exists]"
        ),
    ] = None,
) -> None:
    """Show what the cells in a folder say about the papers' claims, and write report.html and README.md."""
    if not folder.exists():
        raise fail(f"There is no folder {folder}: give the one that `sweep --out` wrote into.")
    if benchmark is not None and not benchmark.is_file():
        raise fail(f"There is no file {benchmark}: give the bench.json of `python -m benchmarks`.")
    if benchmark is None and BENCH.exists():
        benchmark = BENCH
    found = named(experiments, profile, group)
    check_figure(found, figure)
    check_out(out)
    try:
        results = Results(found, profile, folder, benchmark)
    except ValueError as error:
        raise fail(str(error)) from error
    if not any(record for runs in results.cells.values() for record in runs.values()):
        asked = ", ".join(experiment.name for experiment in found)
        raise fail(
            f"{folder} holds no result of {asked} with --profile {profile}: give the folder that `sweep "
            "--out` wrote into, the same experiments and the same profile."
        )
    judged = write_report(results, out, figure)
    for grid in accuracies(results, figure):
        console.print(grid)
    if judged:
        console.print(scoreboard_table(judged))
    console.print(f"Report: {out / 'report.html'} and {out / 'README.md'}")
