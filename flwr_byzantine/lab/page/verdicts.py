"""Who was rejected, and who was Byzantine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from flwr_byzantine.audit.records import NO_RESULT, REJECTED
from flwr_byzantine.lab.page.data import NONE, Cell, Findings
from flwr_byzantine.lab.page.text import MISSING, escape, listed

MOST = 20_000  # the most cells in the tables by node; with more, the page would be slow
BYZANTINE, HONEST = True, False


def counts(cell: Cell) -> dict[bool, Counter[str]]:
    """How often each verdict was given to Byzantine (True) and to honest (False) nodes."""
    found: dict[bool, Counter[str]] = {BYZANTINE: Counter(), HONEST: Counter()}
    for server_round, node, verdict in cell.verdicts:
        found[node in cell.attackers(server_round)][verdict] += 1
    return found


def rejected(verdicts: Counter[str]) -> tuple[int, int]:
    """How many replies were rejected, and how many replies count."""
    total = sum(n for verdict, n in verdicts.items() if verdict not in NO_RESULT)
    return sum(verdicts[verdict] for verdict in REJECTED), total


def verdicts_table(findings: Findings) -> str:
    """How often Byzantine and honest nodes were rejected, for each rule and attack."""
    of_cell = {pair: counts(cell) for pair, cell in findings.cells.items()}
    groups = {
        attack: [
            group
            for group in (BYZANTINE, HONEST)
            if group is HONEST
            or any(of_cell[r, attack][group] for r in findings.rules if (r, attack) in of_cell)
        ]
        for attack in findings.attacks
    }
    over = "".join(
        f'<th scope="colgroup" colspan="{len(groups[a])}" class="group">'
        f"{escape('no attack' if a == NONE else a)}</th>"
        for a in findings.attacks
    )
    under = "".join(
        f'<th scope="col" class="num{" group" if i == 0 else ""}">{"Byzantine" if group else "honest"}</th>'
        for a in findings.attacks
        for i, group in enumerate(groups[a])
    )
    columns = "<colgroup></colgroup>" + "".join(
        f'<colgroup span="{len(groups[a])}"></colgroup>' for a in findings.attacks
    )
    rows = "".join(
        f'<tr><th scope="row"><span class="name">{escape(rule)}</span></th>'
        + "".join(
            _share(of_cell[rule, a][group] if (rule, a) in of_cell else Counter(), i == 0)
            for a in findings.attacks
            for i, group in enumerate(groups[a])
        )
        + "</tr>"
        for rule in findings.rules
    )
    return (
        "<table><caption>Share of replies that the rule trimmed, did not select or dropped</caption>"
        f'{columns}<thead><tr><th scope="col" rowspan="2">Rule</th>{over}</tr><tr>{under}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _share(verdicts: Counter[str], is_first: bool) -> str:
    hits, total = rejected(verdicts)
    kind = "num group" if is_first else "num"
    if not total:
        return f'<td class="{kind} soft">{MISSING}</td>'
    share = 100 * hits / total
    detail = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    return (
        f'<td class="{kind}" title="{escape(f"{hits} of {total} replies: {detail}")}">'
        f'<span class="meter" style="--share:{share:.1f}%">{share:.0f} %</span></td>'
    )


def who_attacked(findings: Findings) -> str:
    """Sentences that name the Byzantine nodes."""
    sets: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    changing = []
    for attack in findings.attacks:
        cells = [findings.cell(rule, attack) for rule in findings.rules]
        found = {nodes for cell in cells for nodes in cell.byzantine if nodes}
        if len(found) == 1:
            sets[found.pop()].append(attack)
        elif found:
            changing.append(attack)
    said = []
    for nodes, attacks in sets.items():
        ids = listed([f"<code>{escape(node)}</code>" for node in sorted(nodes)])
        under = "" if len(sets) == 1 and not changing else f" under {escape(listed(attacks))}"
        one, many = ("node", "was") if len(nodes) == 1 else ("nodes", "were")
        said.append(f"Byzantine{under} {many} the {one} {ids}.")
    if changing:
        said.append(
            f"Under {escape(listed(changing))}, the attacking nodes changed from round to round."
        )
    return f"<p>{' '.join(said) or 'The result names no Byzantine nodes.'}</p>"


def lost_replies(findings: Findings) -> str:
    """A sentence on the replies that do not count; no text if all count."""
    found: Counter[str] = Counter(v for c in findings.cells.values() for _, _, v in c.verdicts)
    failed, skipped = found["failed"], found["skipped"]
    if not failed + skipped:
        return ""
    return (
        f"<p>Some replies do not count: those that failed ({failed}), and those of rounds without a result "
        f"({skipped}).</p>"
    )


def node_tables(findings: Findings) -> str:
    """Tables by node: how often each rule rejected each node. There is a table for each attack."""
    size = sum(len({node for _, node, _ in cell.verdicts}) for cell in findings.cells.values())
    if size > MOST:
        return "<p>There are too many nodes to list here. <code>stress.json</code> lists all of them.</p>"
    return "".join(_node_table(findings, attack) for attack in findings.attacks)


def _node_table(findings: Findings, attack: str) -> str:
    cells = [cell for r in findings.rules if (cell := findings.cell(r, attack)).verdicts]
    if not cells:
        return ""
    ever = {node for cell in cells for nodes in cell.byzantine for node in nodes}
    of_node: dict[str, dict[str, Counter[str]]] = {}
    for cell in cells:
        for _, node, verdict in cell.verdicts:
            of_node.setdefault(node, {}).setdefault(cell.rule, Counter())[verdict] += 1
    rules = [cell.rule for cell in cells]
    heads = "".join(f'<th scope="col">{escape(rule)}</th>' for rule in rules)
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(node)}</code></th>'
        f"<td>{'<strong>Byzantine</strong>' if node in ever else 'honest'}</td>"
        f"{_rejections(of_node[node], rules)}</tr>"
        for node in sorted(of_node, key=lambda node: (node not in ever, node))
    )
    name = "without an attack" if attack == NONE else f"under {attack}"
    return (
        f"<details><summary>Node by node {escape(name)}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Nodes {escape(name)}"><table>'
        "<caption>In how many of its rounds each node was rejected</caption>"
        f'<thead><tr><th scope="col">Node</th><th scope="col">Kind</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _rejections(of_rule: dict[str, Counter[str]], rules: Sequence[str]) -> str:
    shown = []
    for rule in rules:
        hits, total = rejected(of_rule.get(rule, Counter()))
        words = f"{hits} of {total}" if total else MISSING
        shown.append(f'<td class="num{"" if hits else " soft"}">{words}</td>')
    return "".join(shown)
