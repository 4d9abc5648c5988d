"""The tables of results, costs, clients and settings."""

from __future__ import annotations

import math
import shlex
from typing import Any

from flwr_byzantine.lab.page.data import APP, NONE, Cell, Findings, number
from flwr_byzantine.lab.page.text import MISSING, escape, points, times, value

SHOWN = 3  # how many nodes the table names for each rule
TOLD = {"app", "metric", "source", "source_in_words", "lower_is_better", "cells", "recommendation"}
TOLD |= {"clients_who_lose", "config", "command"}  # other parts of the page show these keys


def row_head(findings: Findings, rule: str) -> str:
    """The head cell of a rule's row."""
    chosen = ' <span class="tag">recommended</span>' if rule == findings.recommended else ""
    return f'<th scope="row"><span class="name">{escape(rule)}</span>{chosen}</th>'


def table(caption: str, heads: list[str], rows: list[str]) -> str:
    """A table. The first column is text, and the others are numbers."""
    first, *others = heads
    columns = "".join(f'<th scope="col" class="num">{head}</th>' for head in others)
    return (
        f"<table><caption>{caption}</caption><thead><tr>"
        f'<th scope="col">{first}</th>{columns}</tr></thead><tbody>'
        + "".join(f"<tr>{row}</tr>" for row in rows)
        + "</tbody></table>"
    )


def results_table(findings: Findings) -> str:
    """The app's metric and the points lost, for each rule and attack."""
    heads = ["Rule"]
    heads += [escape("no attack" if name == NONE else name) for name in findings.attacks]
    rows = [
        row_head(findings, rule)
        + "".join(_result(findings.cell(rule, attack)) for attack in findings.attacks)
        for rule in findings.rules
    ]
    caption = f"{escape(findings.metric)} after the last round, and points lost"
    return table(caption, heads, rows)


def _result(cell: Cell) -> str:
    if cell.error is not None:
        shown = f'<span class="bad" title="{escape(cell.error)}">failed</span>'
    else:
        lost = "" if cell.loss is None else f"{cell.loss_in_words} {cell.spread_in_words}".rstrip()
        shown = value(cell.final) + (f"<small>{lost}</small>" if lost else "")
    names = f'data-rule="{escape(cell.rule)}" data-attack="{escape(cell.attack)}"'
    return f'<td class="num result" {names}>{shown}</td>'


def errors_list(findings: Findings) -> str:
    """Why runs failed, in one line for each run."""
    lines = "".join(
        f"<li><strong>{escape(cell.rule)}, {escape('no attack' if cell.attack == NONE else cell.attack)}"
        f"</strong>: {escape(cell.error)}</li>"
        for cell in findings.failed()
    )
    return f'<h3>Runs that failed</h3><ul class="errors">{lines}</ul>' if lines else ""


def cost_table(findings: Findings) -> str:
    """The seconds per round of each rule, and the multiple of the app's own that they are."""
    largest = max([findings.seconds(rule) or 0.0 for rule in findings.rules] + [0.0]) or 1.0
    rows = []
    for rule in findings.rules:
        seconds = findings.seconds(rule)
        bar = ""
        if seconds is not None:
            bar = f'<span class="bar" style="--share:{100 * seconds / largest:.1f}%"></span>'
        rows.append(
            f'{row_head(findings, rule)}<td class="num">{value(seconds)}</td>'
            f'<td class="num">{times(findings.cost(rule))}</td><td class="wide">{bar}</td>'
        )
    heads = ["Rule", "seconds per round", "times the app's own", '<span class="hidden">bar</span>']
    return table("Seconds per round without an attack", heads, rows)


def losers_table(findings: Findings) -> str:
    """The honest nodes that lose most under each rule without an attack."""
    rows = []
    for rule, nodes in findings.losers.items():
        many = sum(lost > 1 for _, lost in nodes)
        cells = [
            f'<td class="num node"><b>{points(lost)}</b><code>{escape(node)}</code></td>'
            for node, lost in nodes[:SHOWN]
        ]
        cells += [f'<td class="num soft">{MISSING}</td>'] * (SHOWN - len(cells))
        count = f'<td class="num">{many} of {len(nodes)}</td>'
        rows.append(row_head(findings, rule) + count + "".join(cells))
    heads = ["Rule", "nodes that lose over a point", "loses most", "second", "third"]
    return table("Points that honest nodes lose, and their ids", heads, rows)


def settings_list(findings: Findings) -> str:
    """The settings of the runs."""
    raw = findings.raw
    told = {
        "app": findings.app,
        "metric": findings.metric,
        "rules": ", ".join(findings.rules),
        "attacks": ", ".join(findings.attacks),
    }
    told |= {"seeds": ", ".join(findings.seeds)} if findings.is_repeated and findings.seeds else {}
    told |= {
        str(key).replace("_", " "): str(shown)
        for key, shown in raw.items()
        if key not in TOLD and isinstance(shown, str | int | float)
    }
    config = raw.get("config")
    if isinstance(config, dict):
        told |= {f"{key} (run config)": shown for key, shown in config.items()}
    pairs = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(shown)}</dd></div>" for key, shown in told.items()
    )
    return f'<dl class="settings">{pairs}</dl>'


def command(findings: Findings) -> str:
    """The command line that makes the same runs again."""
    raw = findings.raw
    given = raw.get("command")
    if isinstance(given, str):
        return given
    words = ["flwr-byzantine", "stress", f"./{findings.app}"]
    words += ["--rules", ",".join(findings.rules), "--attacks", ",".join(findings.attacks)]
    for key in ("clients", "byzantine", "rounds", "seed"):
        if (found := number(raw.get(key))) is not None and math.isfinite(found):
            words += [f"--{key}", f"{found:.0f}"]
    words += ["--seeds", str(len(findings.seeds))] if len(findings.seeds) > 1 else []
    words += ["--metric", findings.metric] if raw.get("metric") else []
    words += ["--lower-is-better"] if raw.get("lower_is_better") else []
    config = raw.get("config")
    for key, shown in (config if isinstance(config, dict) else {}).items():
        if "round" not in str(key) or shown != raw.get("rounds"):
            words += ["-c", f"{key}={_toml(shown)}"]
    return shlex.join(words)


def _toml(shown: Any) -> str:
    """A value of a run configuration as `flwr run` reads it."""
    if isinstance(shown, bool):
        return str(shown).lower()
    return f'"{shown}"' if isinstance(shown, str) else str(shown)


def worst_figures(findings: Findings) -> list[tuple[str, str, str]]:
    """The figures at the head of the page: each with its name, number and remark."""
    figures = []
    chosen = findings.recommended
    for rule in dict.fromkeys(name for name in (APP, chosen) if name in findings.rules):
        worst = findings.weakest(str(rule))
        if worst is None:
            continue
        name = "Your app alone, at worst" if rule == APP else f"With {rule}, at worst"
        under = "without an attack" if worst.attack == NONE else f"under {worst.attack}"
        note = under if worst.error or worst.is_broken else f"points lost {under}"
        lost = f"{worst.loss_in_words} {worst.spread_in_words}".rstrip()
        figures.append((name, "fails" if worst.error else lost, note))
    if chosen and (cost := findings.cost(chosen)) is not None:
        figures.append(("Time per round", times(cost), "the app's own, without an attack"))
    return figures
