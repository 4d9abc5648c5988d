"""What docs/benchmarks.md says of time and memory, from one run of all benchmarks in docs/results/benchmark."""

import json
from pathlib import Path
from typing import Any

from markdown_table import table

BENCH = Path(__file__).resolve().parents[1] / "results" / "benchmark" / "bench.json"
PEERS = ("byzfl", "byzpy", "krum", "Flower")
Row = dict[str, Any]


def suite(name: str) -> list[Row]:
    """The rows of one suite."""
    return list(json.loads(BENCH.read_text())[name])


def machine() -> str:
    """When, with what and with which versions the benchmarks ran."""
    of = json.loads(BENCH.read_text())["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    where = f"{of['cores']} cores of an {of['processor']} (kernels for {of['kernels']})"
    return f"Measured on {of['date']} with {where}, Python {of['python']}, {versions}."


def ratio(row: Row, name: str = "ratio", digits: int = 2) -> str:
    """The median of a ratio, with the least and the largest of the repetitions."""
    median, least, most = (row[key] for key in (name, f"{name}_min", f"{name}_max"))
    return f"{median:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def speedups(rules: str) -> dict[str, dict[str, str]]:
    """Of the rules in a suite: library -> how many times as fast ours is."""
    found: dict[str, dict[str, str]] = {}
    for row in suite(rules):
        digits = 1 if row["speedup"] < 10 else 0
        found.setdefault(row["name"], {})[row["against"]] = ratio(row, "speedup", digits)
    return found


def page_strategies() -> str:
    """Time and memory of whole ``aggregate_fit`` calls, beside those of Flower's FedAvg."""
    sizes = sorted({row["n"] for row in suite("clients")})
    by_size = {(row["name"], row["n"]): ratio(row) for row in suite("clients")}
    growth = {row["name"]: f"{row['growth']:.1f}" for row in suite("scaling")}
    head = (
        "strategy", "20 clients, 10 million values", "memory / payload",
        *(f"{n} clients, 1 million" for n in sizes), "time for 10 d / time for d",
    )  # fmt: skip
    rows = [
        (
            f"`{row['name']}`", ratio(row), f"{row['memory']:.2f}",
            *(by_size.get((row["name"], n), "-") for n in sizes), growth.get(row["name"], "-"),
        )
        for row in suite("strategies") if row["name"] not in ("reading", "FedAvg")
    ]  # fmt: skip
    return f"{machine()}\n\n{table(head, *rows)}"


def page_readings() -> str:
    """Time of the kernels alone, beside that of reading all replies once."""
    rows = [
        (f"`{row['name']}`", ratio(row), f"{row['memory']:.3f}")
        for row in suite("readings") if row["name"] != "reading"
    ]  # fmt: skip
    return table(("rule", "readings", "memory / replies"), *rows)


def page_peers() -> str:
    """How many times as fast the rules are as the libraries that have them too."""
    faster = speedups("rules") | speedups("modern")
    rows = [
        (f"`{name}`", *(own.get(peer, "-") for peer in PEERS)) for name, own in faster.items()
    ]
    return table(("rule", *PEERS), *rows)


def page_first_use() -> str:
    """Milliseconds of a fresh process."""

    def shown(row: Row, name: str) -> str:
        return f"{1000 * row[name]:.0f}" if name in row else "-"

    rows = [(f"`{row['name']}`", shown(row, "first"), shown(row, "second")) for row in suite("first_use")]
    return table(("in a fresh process", "first time, ms", "second time, ms"), *rows)


def page_rounds() -> str:
    """Time of a whole round in Ray, beside that with Flower's FedAvg."""
    rows = [(f"`{row['name']}`", ratio(row)) for row in suite("rounds") if row["name"] != "fedavg"]
    return table(("strategy", "round / FedAvg"), *rows)
