"""``stress.html``: one page that shows the content of ``stress.json``. It needs no other file."""

from __future__ import annotations

import math

from flwr_byzantine.lab.page import advice, tables, verdicts
from flwr_byzantine.lab.page.backdoor import success_html
from flwr_byzantine.lab.page.chart import chart
from flwr_byzantine.lab.page.data import APP, NONE, Findings, Result, read
from flwr_byzantine.lab.page.heatmap import draw, heatmap_svg
from flwr_byzantine.lab.page.style import STYLE
from flwr_byzantine.lab.page.text import escape, point_in_words
from flwr_byzantine.lab.page.words import notes
from flwr_byzantine.lab.scores import SOURCES

__all__ = ["heatmap_svg", "page", "summary_html"]

# With this policy a browser loads nothing and runs no script, whatever names are in the result.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
SECTIONS = {
    "lost": "Points lost by rule and attack",
    "number": "Which number this is",
    "curves": "Round by round under each attack",
    "rejected": "Who was rejected, and who was Byzantine",
    "cost": "What each rule costs per round",
    "clients": "Honest nodes that lose most without an attack",
    "settings": "Settings and command",
}


def page(result: Result) -> str:
    """The page that shows a result.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    findings = read(result)
    bodies = {
        "lost": _lost,
        "number": _number,
        "curves": _curves,
        "rejected": _rejected,
        "cost": _cost,
        "clients": _clients,
        "settings": _settings,
    }
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in SECTIONS.items())
    sections = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{title}</h2>{bodies[key](findings)}</section>'
        for key, title in SECTIONS.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(findings.app)} under attack: stress test</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">Byzantine stress test</p><h1>{escape(findings.app)} under attack</h1>'
        f"{_summary(findings)}</header>\n{_advice(findings)}\n"
        f'<nav aria-label="On this page"><ul>{links}</ul></nav>\n{sections}\n</main>\n'
        "<footer><p>Made by flwr-byzantine. This page holds all that it shows, and loads nothing from "
        "elsewhere.</p></footer>\n</body>\n</html>\n"
    )


def summary_html(result: Result) -> str:
    """The recommendation and the heatmap, as part of another page such as a notebook.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    findings = read(result)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes(findings))
    return (
        f"<div><p><strong>{_title(findings)}.</strong> "
        f"{escape(findings.reason or 'The result holds no reason.')}</p>"
        f"<div style='overflow-x:auto'>{draw(findings)}</div>{said}</div>"
    )


def _title(findings: Findings) -> str:
    chosen = findings.recommended
    return f"Take {escape(chosen)}" if chosen else "No rule is recommended"


def _scroll(label: str, inside: str) -> str:
    """A region that readers can scroll on narrow screens, also by keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{inside}</div>'


def _summary(findings: Findings) -> str:
    told = [
        f"{findings.raw[key]} {words}"
        for key, words in (("clients", "clients"), ("byzantine", "of them Byzantine"))
        if findings.raw.get(key) is not None
    ]
    if findings.raw.get("rounds") is not None:
        told.append(f"{findings.raw['rounds']} rounds")
    runs = len(findings.cells) * max(1, len(findings.seeds))
    told.append(f"{runs} runs")
    told += [f"{len(findings.seeds)} seeds"] if len(findings.seeds) > 1 else []
    return f'<p class="soft">{escape(", ".join(told))}</p>'


def _advice(findings: Findings) -> str:
    reason = escape(findings.reason or "The result holds no reason.")
    figures = "".join(
        f'<div><dt>{escape(name)}</dt><dd><b>{escape(shown)}</b> <span class="soft">{escape(note)}</span>'
        "</dd></div>"
        for name, shown, note in tables.worst_figures(findings)
    )
    return (
        '<section class="advice" aria-labelledby="advice"><p class="eyebrow">Recommendation</p>'
        f'<h2 id="advice">{_title(findings)}</h2><p class="reason">{reason}</p>'
        + (f"<dl>{figures}</dl>" if figures else "")
        + _how(findings)
        + "</section>"
    )


def _how(findings: Findings) -> str:
    """The line that puts the recommended rule into the app."""
    found = advice.code_of(findings)
    if found is None:
        return ""
    imports, rule = found
    imports += "\nfrom flwr_byzantine.serverapp import ByzantineRobust"
    lines = f"{imports}\n\nstrategy = ByzantineRobust(strategy, rule={rule})"
    return (
        "<details><summary>How to put it into your app</summary>"
        "<p>In the main function of your <code>ServerApp</code>, after the line that makes the strategy:</p>"
        f'<pre tabindex="0" aria-label="Code for the Message API"><code>{escape(lines)}</code></pre>'
        "<p>An app that gives its strategy to <code>ServerAppComponents</code> imports "
        "<code>ByzantineRobust</code> from <code>flwr_byzantine</code>. An app with a loop of its own has no "
        "strategy. It puts the rule around its grid, before the first use of it: "
        f"<code>grid = RobustGrid(grid, rule={escape(rule)})</code>, from "
        "<code>flwr_byzantine.serverapp</code>.</p></details>"
    )


def _lost(findings: Findings) -> str:
    rules = ""
    if {APP, "fedavg"} & {*findings.rules}:
        rules = (
            "<p><code>app</code> is your app as it is. <code>fedavg</code> replaces its aggregation by the "
            "plain average. Each other rule works on the replies before your app gets them.</p>"
        )
    is_low = bool(findings.raw.get("lower_is_better"))
    point = point_in_words(findings.metric, is_low, findings.cell(APP, NONE).final)
    return (
        "<p>Each number says how many points your app loses, compared with your app without an attack and "
        f"without a rule. A minus sign means that it gains points. {escape(point)}</p>"
        f"{rules}{''.join(f'<p>{escape(said)}</p>' for said in notes(findings))}"
        f"{_scroll('Heatmap of points lost', draw(findings))}"
        f"{tables.errors_list(findings)}"
        f"<h3>The same in numbers</h3>{_scroll('Results', tables.results_table(findings))}"
        f"{success_html(findings)}"
    )


def _number(findings: Findings) -> str:
    raw = findings.raw
    is_low = bool(raw.get("lower_is_better"))
    source = SOURCES.get(str(raw.get("source")))
    origin = (
        f"It comes from {source}." if source else "The result does not say where it comes from."
    )
    return (
        f"<p>The number is <code>{escape(findings.metric)}</code> after the last round. "
        f"{'Lower' if is_low else 'Higher'} is better. {origin}</p>"
    )


def _curves(findings: Findings) -> str:
    if not any(math.isfinite(v) for v in findings.values):
        return "<p>No run reported a number after a round.</p>"
    charts = "".join(chart(findings, attack, i) for i, attack in enumerate(findings.attacks))
    bands = ""
    if any(len(cell.curves) > 1 for cell in findings.cells.values()):
        bands = "It is the mean over the seeds, and its band reaches from the lowest seed to the highest. "
    return (
        f"<p>Each line is a rule. {bands}At its end are the rule's name and the last "
        f"<code>{escape(findings.metric)}</code>. The dotted line shows where the app ends without an "
        "attack. All charts have the same axes.</p>"
        f'<div class="charts">{charts}</div>'
    )


def _rejected(findings: Findings) -> str:
    if not any(cell.verdicts for cell in findings.cells.values()):
        return f"{verdicts.who_attacked(findings)}<p>The result holds no verdicts of rules.</p>"
    first = " The numbers are those of the first seed." if findings.is_repeated else ""
    return (
        f"{verdicts.who_attacked(findings)}<p>A good rule rejects Byzantine nodes often and honest "
        "nodes seldom. Many rules leave some nodes out in every round. So an honest node that is rejected "
        f"now and then did nothing wrong. A dash means that no rule judged the replies.{first}</p>"
        f"{_scroll('Rejections', verdicts.verdicts_table(findings))}"
        f"{verdicts.lost_replies(findings)}{verdicts.node_tables(findings)}"
    )


def _cost(findings: Findings) -> str:
    if all(findings.seconds(rule) is None for rule in findings.rules):
        return "<p>The result holds no times.</p>"
    return (
        "<p>These times include the training of all nodes on one machine. The runs share the machine, so "
        "small differences mean little.</p>"
        f"{_scroll('Cost', tables.cost_table(findings))}"
    )


def _clients(findings: Findings) -> str:
    if not findings.losers:
        return "<p>The result holds no values of single nodes.</p>"
    return (
        "<p>A rule may ignore what honest nodes with unusual data have learnt. The table names the nodes "
        "that lose most by a rule without an attack, compared with your app as it is. The numbers are what "
        "each node reports about itself.</p>"
        f"{_scroll('Clients', tables.losers_table(findings))}"
    )


def _settings(findings: Findings) -> str:
    return (
        f"{tables.settings_list(findings)}<p>This command runs the same again:</p>"
        f'<pre tabindex="0" aria-label="Command"><code>{escape(tables.command(findings))}</code></pre>'
    )
