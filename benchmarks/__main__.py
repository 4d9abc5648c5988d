"""``python -m benchmarks``: run the suites, print their tables, write ``bench.json`` and ``bench.md``."""

import datetime
import importlib.metadata
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.suites import Row, all_suites, run_suite
from flwr_byzantine.kernels import num_threads
from flwr_byzantine.kernels.compiled import choice

PACKAGES = ("flwr", "numpy", "torch", "byzfl", "byzpy", "krum")


def machine() -> dict[str, Any]:
    """The processor, its cores, the threads used, Python, and the versions of what was measured."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model or platform.machine(),
        "kernels": choice().name,  # the instruction set, or numpy
        "cores": os.cpu_count(),
        "threads": num_threads(),
        "python": platform.python_version(),
        "versions": versions,
    }


def markdown(name: str, rows: list[Row]) -> str:
    """One suite as a Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"### {name}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]
    return "\n".join([*lines, ""])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


app = typer.Typer(pretty_exceptions_show_locals=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md.")] = Path(
        "runs/bench"
    ),
    quick: Annotated[
        bool, typer.Option(help="Take tiny sizes, which only show that everything runs.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="Suites to run; all by default.")] = None,
) -> None:
    """Measure the strategies against Flower's FedAvg, and the rules against peers."""
    suites = list(all_suites(quick))
    names = only or suites
    if unknown := set(names) - set(suites):
        raise typer.BadParameter(f"no suite {sorted(unknown)}: choose from {suites}")
    console = Console()
    console.print(machine())
    tables: dict[str, list[Row]] = {}
    # Each suite gets a process of its own. Memory that an earlier suite left mapped would make peers faster.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        for name in names:
            with console.status(f"measuring {name}"):
                tables[name] = processes.submit(run_suite, name, quick).result()
            console.print(markdown(name, tables[name]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps({"machine": machine(), **tables}, indent=1) + "\n")
    text = "\n".join(markdown(name, rows) for name, rows in tables.items())
    (out / "bench.md").write_text(f"{json.dumps(machine())}\n\n{text}")


if __name__ == "__main__":
    app()
