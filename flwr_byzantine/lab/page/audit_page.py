"""``audit.html``: one page that shows an audit log, nodes by rounds. It needs no other file."""

from __future__ import annotations

from collections.abc import Sequence

from flwr_byzantine.audit import AuditRecord
from flwr_byzantine.audit.summary import Client, clients
from flwr_byzantine.lab.page.document import POLICY
from flwr_byzantine.lab.page.style import STYLE
from flwr_byzantine.lab.page.text import escape, shortened, value

MOST_ROUNDS, MOST_NODES = 200, 300  # the newest rounds; the nodes that stood out most
LIMITS = (2.0, 5.0, 20.0, 50.0, 1e3, 1e6)  # where each step ends, as multiples of the usual size
MARKS = {"dropped": "M", "failed": "F", "quarantined": "Q", "skipped": "-"}
OUT = "x"
LETTERS = (
    (OUT, "stands out: its update was far larger than usual, or not finite"),
    ("M", "malformed: dropped before the rule saw it"),
    ("F", "failed: it answered with an error, or not at all"),
    ("Q", "in quarantine: a suspect, left out"),
    ("-", "the round had no result"),
)
_RULES = (
    ".grid{border-collapse:separate;border-spacing:1px;font-size:12px}.grid th,.grid td{padding:2px 4px;"
    "border:0;text-align:center;min-width:18px;height:20px}.grid tbody th{text-align:left;padding-right:10px}"
    ".grid td:empty{background:none}"
    + "".join(f".s{i}{{background:var(--s{i});color:var(--t{i})}}" for i in range(8))
)


def audit_page(records: Sequence[AuditRecord], title: str) -> str:
    """The page that shows an audit log.

    Parameters
    ----------
    records : Sequence[AuditRecord]
        As :func:`flwr_byzantine.audit.read_audit` gives them.
    title : str
        What the page shows, such as the file's name.
    """
    nodes = clients(records)
    suspects = [node for node in nodes if node.suspect]
    rounds = sorted({record.round for record in records})
    told = f"{len(nodes)} nodes, {len(rounds)} rounds, {len(suspects)} suspects"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>Audit of {escape(title)}</title>\n<style>{STYLE}{_RULES}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="eyebrow">Audit</p><h1>{escape(title)}</h1><p>{told}.</p></header>\n'
        f"{_section('suspects', 'Suspects', _suspects(suspects))}"
        f"{_section('rounds', 'Nodes by rounds', _grid(nodes, records, rounds))}"
        f"{_section('nodes', 'What became of the replies of each node', _table(nodes))}"
        "\n</main>\n<footer><p>Made by flwr-byzantine. This page holds all that it shows, and loads nothing "
        "from elsewhere.</p></footer>\n</body>\n</html>\n"
    )


def _section(key: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{title}</h2>{body}</section>\n'


def _scroll(label: str, inside: str) -> str:
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{inside}</div>'


def _suspects(suspects: Sequence[Client]) -> str:
    if not suspects:
        return (
            "<p>There is none. The audit does not find attacks that stay inside the spread of honest "
            "updates.</p>"
        )
    items = "".join(
        f"<li><b>{escape(node.called)}</b> stood out in {node.stood_out} rounds, the last time in round "
        f"{node.last}: {escape(node.reason)}</li>"
        for node in suspects
    )
    return (
        f'<ul class="errors">{items}</ul><p class="soft">A suspect stood out in several rounds: its updates '
        "were far larger than usual or not finite, or its replies were malformed or failed. The reason says "
        "which. A broken node looks the same as an attacker.</p>"
    )


def _grid(nodes: Sequence[Client], records: Sequence[AuditRecord], rounds: Sequence[int]) -> str:
    shown, last = nodes[:MOST_NODES], rounds[-MOST_ROUNDS:]
    by_place = {(record.client, record.round): record for record in records}
    head = "".join(f"<th scope='col'>{server_round}</th>" for server_round in last)
    rows = "".join(
        f'<tr><th scope="row"{_bad(node)} title="{escape(node.called)}">'
        f"{escape(shortened(node.called, 40))}</th>"
        f"{''.join(_cell(by_place.get((node.client, r))) for r in last)}</tr>"
        for node in shown
    )
    left = ""
    if len(nodes) > len(shown) or len(rounds) > len(last):
        left = f"<p>The table shows {len(shown)} nodes and the newest {len(last)} rounds.</p>"
    steps = "".join(
        f'<td class="s{i}">{label}</td>'
        for i, label in enumerate(("to 2", "5", "20", "50", "1e3", "1e6", "more", "not finite"))
    )
    legend = "".join(f"<li><b>{letter}</b> {escape(words)}</li>" for letter, words in LETTERS)
    table = (
        f'<table class="grid"><thead><tr><th scope="col">node</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
    return (
        f"{left}{_scroll('Nodes by rounds', table)}"
        '<p class="soft">A colour says how many times as large as usual an update was in its round.</p>'
        f'<table class="grid"><tbody><tr>{steps}</tr></tbody></table><ul class="errors">{legend}</ul>'
        '<p class="soft">Rest the pointer on a cell to read more.</p>'
    )


def _bad(node: Client) -> str:
    return ' class="bad"' if node.suspect else ""


def step(record: AuditRecord) -> int:
    """The colour of a cell."""
    if record.size is None:
        return 7 if record.stands_out and record.verdict not in ("dropped", "failed") else 0
    return next((i for i, limit in enumerate(LIMITS) if record.size <= limit), len(LIMITS))


def _cell(record: AuditRecord | None) -> str:
    if record is None:
        return "<td></td>"
    letter = OUT if record.stands_out else ""
    letter = (
        MARKS.get(record.verdict, letter) if record.verdict != "skipped" or not letter else letter
    )
    told = [f"round {record.round}: {record.verdict}"]
    if record.size is not None:
        told.append(f"{value(record.size)} times the usual size")
    if record.used is not None:
        told.append(f"{record.used:.1%} of the result")
    told += [text for text in (record.stands_out, record.reason) if text]
    if record.suspect:
        told.append("a suspect")
    return (
        f'<td class="s{step(record)}" title="{escape("; ".join(told))}">{letter or "&#183;"}</td>'
    )


def _table(nodes: Sequence[Client]) -> str:
    rows = "".join(
        f'<tr><th scope="row"{_bad(node)}><span class="name">{escape(node.called)}</span></th>'
        f'<td class="num">{node.rounds}</td><td class="num">{node.stood_out}</td>'
        f'<td class="num">{value(node.largest)}</td><td class="num">{node.used:.1%}</td>'
        f"<td>{escape(node.verdicts)}</td><td>{escape(node.reason)}</td></tr>"
        for node in nodes[:MOST_NODES]
    )
    head = "".join(
        f"<th scope='col'>{title}</th>"
        for title in (
            "node",
            "rounds",
            "stood out",
            "largest size",
            "of the results",
            "verdicts",
            "why it stood out last",
        )
    )
    note = (
        '<p class="soft">"trimmed" and "not selected" mean that a rule did not use a reply. They are no '
        "evidence against a node: many rules leave some nodes out in every round.</p>"
    )
    return (
        _scroll("Nodes", f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
        + note
    )
