"""``make tables``: write the tables of README.md and docs/ from the code of the rules and attacks.

The first sentence of a docstring says what a rule or an attack does, and its References say where it comes
from. The Notes of a rule may say "Without an attacker it averages ...." and "It fails ...." for the last two
columns. They say "It needs ...." if no number of updates is enough by itself.
"""

import inspect
import json
import re
import sys
from functools import partial
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from flwr_byzantine import attacks, rules
from flwr_byzantine.lab.names import AGAINST, BY_NAME
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.preaggregation import PreAggregation
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.settings import public_names
from flwr_byzantine.strategies.words import FIT_WORDS

REPOSITORY = Path(__file__).resolve().parents[2]
MOST = 60  # bounds are looked for among numbers of updates below this

# What an attacker is given, by the kind of the attack. In all other attacks it is given its own training data.
KNOWN = {
    attacks.LocalAttack: "own update",
    attacks.ColludingAttack: "honest updates",
    attacks.ModelAttack: "global models",
    attacks.ChannelAttack: "all that passes",
}

# Some strategies know more than a round's updates, so they are no rules. For each: what it does; then how many
# updates it needs, its cost, its source, and what it averages without an attacker; then what it fails under.
OTHERS = {
    "ByGARS": (
        "Mean by reputations, which data on the server refine in k steps a round",
        ("any f", "knd", "Regatti et al. 2020", "by the scores"),
        "bit flips in every update; too little auxiliary data; LIE, where the loss is hard",
    ),
    "ByGARSPlusPlus": (
        "Mean by reputations, with one inner product for each client and round",
        ("any f", "nd", "Regatti et al. 2020", "by the scores"),
        "bit flips in every update; LIE",
    ),
    "FLTrust": (
        "Mean by the cosine with an update of the server's own, to whose length all are brought",
        ("any f", "nd", "Cao et al. 2021", "by the cosines"),
        "bit flips in every update; too little auxiliary data, or data unlike the clients'",
    ),
}


def pure() -> list[type[Rule]]:
    """The rules with a strategy of the same name, in the order in which the strategies are declared."""
    return [getattr(rules, name) for name in public_names(vars(fit_strategies)) if name in public()]


def public() -> list[str]:
    """The public names of rules and pre-aggregations."""
    return list(vars(rules)["__all__"])


def steps() -> list[type[Any]]:
    """The pre-aggregations."""
    kinds = (getattr(rules, name) for name in public())
    return [
        kind for kind in kinds
        if isinstance(kind, type) and issubclass(kind, PreAggregation) and not inspect.isabstract(kind)
    ]  # fmt: skip


def does(kind: type[Any]) -> str:
    """The first sentence of a docstring, which says what the rule or attack does."""
    first = re.sub(r"\s+", " ", (inspect.getdoc(kind) or "").split("\n\n")[0])
    return first.split(". ")[0].rstrip(".")


def said(kind: type[Any], pattern: str) -> str:
    """What the Notes say after a pattern, up to the end of the sentence."""
    notes = (inspect.getdoc(kind) or "").partition("Notes\n-----\n")[2]
    found = re.search(rf"{pattern} (.+?)\.(?: |$)", re.sub(r"\s+", " ", notes))
    return found[1].removeprefix("under ") if found else "-"


def source(kind: type[Any]) -> str:
    """Authors and year of the first reference."""
    references = (inspect.getdoc(kind) or "").partition("References\n----------\n")[2]
    found = re.match(r"(?:[\w ]+: )?(.+?) \(?(\d{4})\b", re.sub(r"\s+", " ", references))
    if not found:
        return "-"
    first, *others = found[1].split(", ")
    if len(others) > 1:
        return f"{first} et al. {found[2]}"
    return ", ".join([first, *others]) + f" {found[2]}"


def parameter_of(kind: type[Any]) -> str | None:
    """The name of the field that is f or b."""
    names = (field.name for field in fields(kind))
    return next((name for name in names if FIT_WORDS.get(name) == FIT_WORDS["trim"]), None)


def made(kind: type[Any], f: int) -> Any:
    """A rule for this f. Every other parameter without a default is 1."""
    needed = {
        field.name: 1
        for field in fields(kind)
        if field.init and field.default is field.default_factory is MISSING
    }
    name = parameter_of(kind)
    return kind(**needed | ({name: f} if name else {}))


def needs(kind: type[Any]) -> str:
    """What a rule needs: the least number of updates, or what its Notes say."""
    other = said(kind, "It needs")
    return f"n >= {bound(kind)}" if other == "-" else other


def bound(kind: type[Any]) -> str:
    """The least number of updates, as a formula that holds for f from 1 to 4."""

    def least(f: int) -> int:
        one = made(kind, f)
        numbers = range(one.min_updates, MOST)
        return next((n for n in numbers if one.tolerated(n) >= f), one.min_updates)

    letter = "b" if parameter_of(kind) == "trim" else "f"
    if issubclass(kind, Rule):
        return line(least, letter)
    after = line(lambda rows: int(made(kind, 1).least_for(rows)), "r")
    own = line(lambda f: int(made(kind, f).min_updates), letter)
    return after if own == "1" else own


def line(value: Callable[[int], int], letter: str) -> str:
    """The formula of the straight line through the values at 1, 2, 3 and 4."""
    first, second, *others = (value(i) for i in range(1, 5))
    slope, start = second - first, 2 * first - second
    if others != [start + slope * i for i in (3, 4)]:
        raise ValueError(f"The bound is not linear in {letter}: {first}, {second}, {others}.")
    times = {0: "", 1: letter}.get(slope, f"{slope}{letter}")
    if not times:
        return str(start)
    return times if not start else f"{times} {'+' if start > 0 else '-'} {abs(start)}"


def cost(kind: type[Any]) -> str:
    """The cost of a round, which follows from what the rule computes."""
    if made(kind, 1).uses_distances:
        return "n²d"
    mixes = kind.mixing is not Rule.mixing or kind.mixing_of is not Rule.mixing_of
    return "nd" if mixes else "nd log n"


def table(*rows: tuple[str, ...]) -> str:
    """Write a table in Markdown. The first row is its head."""
    head, *body = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def readme_rules() -> str:
    """The table of rules in README.md: what each does and needs, and its source."""
    rows = [(f"`{kind.__name__}`", does(kind), needs(kind), source(kind)) for kind in pure()]
    rows += [(f"`{name}`", text, more[0], more[2]) for name, (text, more, _) in OTHERS.items()]
    rows = [(name, text, needed.removeprefix("n >= "), whose) for name, text, needed, whose in rows]
    before = ", ".join(f"`{kind.__name__}`" for kind in steps())
    parts = [
        f"There are {len(rows)} rules. Each is a strategy in both APIs.",
        table(("rule", "what it returns", "n at least", "source"), *rows),
        f"Any number of [pre-aggregations](docs/pre-aggregations.md) goes in front: {before}.",
    ]
    return "\n\n".join(parts)


def readme_attacks() -> str:
    """The table of attacks in README.md: what each sends, what attackers are given, and its source."""
    rows = [
        (f"`{name}`", does(kind), known(kind), source(kind))
        for name, kind in sorted(BY_NAME.items())
    ]
    head = ("attack", "what is sent, or trained on", "attackers know", "source")
    text = f"There are {len(rows)} attacks, each a [class](docs/attacks.md) of `flwr_byzantine.attacks`. "
    names = " or ".join(f"`{name}`" for name in AGAINST)
    text += f"These are their names for `--attacks`.\nThere `optimized` is {names}."
    return f"{text}\n\n{table(head, *rows)}"


def known(kind: type[Any]) -> str:
    """What an attacker is given in an attack of this kind."""
    given = next((what for base, what in KNOWN.items() if issubclass(kind, base)), "own data")
    return f"{given}, the rule" if "against" in {field.name for field in fields(kind)} else given


def page_rules() -> str:
    """The tables of docs/rules.md: bounds, costs, and when each rule fails."""
    head = (
        "rule",
        "n at least",
        "cost of a round",
        "without an attacker, it averages",
        "fails under",
    )
    rows = [
        (
            f"[`{kind.__name__}`](#flwr_byzantine.rules.{kind.__name__})",
            needs(kind).removeprefix("n >= "), cost(kind), said(kind, "it averages"), said(kind, "It fails"),
        )
        for kind in pure()
    ]  # fmt: skip
    rows += [
        (f"[`{name}`](#{name.lower()})", more[0], more[1], more[3], fails)
        for name, (_, more, fails) in OTHERS.items()
    ]
    before = [
        (
            f"[`{kind.__name__}`](#flwr_byzantine.rules.{kind.__name__})",
            needs(kind).removeprefix("n >= "),
            cost(kind),
            does(kind),
        )
        for kind in steps()
    ]
    more = ("pre-aggregation", "n at least", "cost of a round", "what it does")
    text = (
        "Pre-aggregations go in front of a rule; r is what the rest needs, and buckets are of two."
    )
    return "\n\n".join([table(head, *rows), text, table(more, *before)])


def page_reference() -> str:
    """The reference in docs/rules.md: the docstrings, by module."""
    modules: dict[str, list[type[Any]]] = {}
    for kind in [*pure(), *steps()]:
        modules.setdefault(kind.__module__, []).append(kind)
    parts = []
    for module, kinds in modules.items():
        title = (sys.modules[module].__doc__ or "").split("\n")[0]
        parts.append("## " + re.split(r"[:.,;]", title)[0])
        parts += ["\n".join(directive(kind)) for kind in kinds]
    return "\n\n".join(parts)


def directive(kind: type[Any]) -> Iterator[str]:
    """The lines that make mkdocstrings show a docstring, and the methods that not every rule has."""
    yield f"::: flwr_byzantine.rules.{kind.__name__}"
    base = Rule if issubclass(kind, Rule) else PreAggregation
    own = [
        name
        for name, thing in inspect.getmembers(kind, inspect.isfunction)
        if name[0] != "_" and thing.__name__ == name
        and (not hasattr(base, name) or (name == "scores" and thing is not Rule.scores))
    ]  # fmt: skip
    if own:
        yield "    options:"
        yield f"      members: [{', '.join(own)}]"
        inherited = [name for name in own if name not in vars(kind)]
        if inherited:
            yield f"      inherited_members: [{', '.join(inherited)}]"


def page_bounds() -> str:
    """The table of docs/operators.md: the largest f for which a number of replies is enough."""
    sizes = (8, 20, 100)
    groups: dict[str, list[type[Any]]] = {}
    for kind in pure():
        if kind is not rules.Mean and needs(kind).startswith("n >="):
            groups.setdefault(bound(kind).replace("b", "f"), []).append(kind)
    head = ("rule", "replies needed", *(f"f with n = {n}" for n in sizes))
    rows = [
        (
            ", ".join(f"`{kind.__name__}`" for kind in kinds),
            needed,
            *(most(kinds[0], n) for n in sizes),
        )
        for needed, kinds in groups.items()
    ]
    return table(head, *rows)


def most(kind: type[Any], n: int) -> str:
    """The largest f for which n replies are enough."""
    enough = (
        f for f in range(n) if made(kind, f).min_updates <= n and made(kind, f).tolerated(n) >= f
    )
    return str(max(enough))


def page_evidence() -> str:
    """The table of docs/which-rule.md: when a defence is worth its cost, from the cells of the study."""
    # Imported here, because it needs torch, which the other pages do not need.
    from simulations.report.decide import decision_table

    return decision_table(REPOSITORY / "docs" / "results" / "study")


def scores(folder: str) -> str:
    """The table of how many claims of each paper hold, from the report of the reproduction.

    ``folder`` is the path from the page to docs/.
    """
    report = (REPOSITORY / "docs" / "results" / "reproduction" / "README.md").read_text()
    verdicts = ("holds", "fails", "no-test", "not-run")
    rows, claims = [], 0
    for paper, counts in re.findall(r"<summary><b>(.+?)</b>: (.+?)</summary>", report):
        found = dict(re.findall(r'class="verdict-([\w-]+)">(\d+) ', counts))
        own = [int(found.get(verdict, 0)) for verdict in verdicts]
        claims += sum(own)
        rows.append((paper, *(str(number) for number in (sum(own), *own))))
    text = (
        f"We measured every empirical claim of four papers, {claims} in all, on real MNIST and CIFAR-10, at a "
        f"smaller scale. [The\nreproduction]({folder}results/reproduction/README.md) has the numbers seen, and says "
        "why a claim does not hold, or is no test."
    )
    head = ("paper", "claims", "hold", "do not hold", "no test", "not run")
    return f"{text}\n\n{table(head, *rows)}"


def page_cost() -> str:
    """The tables of docs/benchmarks.md, from the run of all suites in docs/results/benchmark."""
    bench = json.loads((REPOSITORY / "docs" / "results" / "benchmark" / "bench.json").read_text())
    by_name: dict[str, dict[int, str]] = {}
    for row in bench["clients"]:
        by_name.setdefault(row["name"], {})[row["n"]] = share(row)
    sizes = sorted({row["n"] for row in bench["clients"]})
    growth = {row["name"]: f"{row['growth']:.1f}" for row in bench["scaling"]}
    large = {row["name"]: (share(row), f"{row['memory']:.2f}") for row in bench["strategies"]}
    head = (
        "strategy", *(f"{n} clients, 1 million" for n in sizes), "20 clients, 10 million",
        "memory / payload", "time for 10 d / time for d",
    )  # fmt: skip
    cells = [
        (f"`{name}`", *(own[n] for n in sizes), *large[name], growth[name])
        for name, own in by_name.items()
        if name != "FedAvg"
    ]
    whole = [(f"`{row['name']}`", share(row)) for row in bench["rounds"] if row["name"] != "fedavg"]
    of = bench["machine"]
    kernels = of.get("kernels") or of["architecture"]  # runs before version 0.2 have the latter
    where = f"{of['cores']} cores of an {of['processor']} ({kernels}), Python {of['python']}"
    text = f"Measured on {of['date']} with {where}, flwr {of['versions']['flwr']}."
    parts = [
        text,
        table(head, *cells),
        "A whole round of 20 clients in Ray, as a multiple of the time with Flower's FedAvg:",
        table(("strategy", "round / FedAvg"), *whole),
    ]
    return "\n\n".join(parts)


def share(row: dict[str, Any]) -> str:
    """A time as a multiple of FedAvg's time, with the smallest and the largest multiple of the repetitions."""
    return f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"


PAGES = {
    "README.md": {
        "rules": readme_rules,
        "attacks": readme_attacks,
        "scores": partial(scores, "docs/"),
    },
    "docs/benchmarks.md": {"suites": page_cost},
    "docs/index.md": {"scores": partial(scores, "")},
    "docs/operators.md": {"bounds": page_bounds},
    "docs/rules.md": {"rules": page_rules, "reference": page_reference},
    "docs/which-rule.md": {"evidence": page_evidence},
}


def written(page: str, text: str) -> str:
    """The text of a page with new generated parts."""
    for name, make in PAGES[page].items():
        begin, end = f"<!-- {name}: written by `make tables` -->", f"<!-- {name}: end -->"
        before, begins, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if not begins or not ends:
            raise ValueError(f"{page} should have a line {begin!r}, and {end!r} below it.")
        text = f"{before}{begin}\n\n{make()}\n\n{end}{after}"
    return text


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        path = REPOSITORY / page
        path.write_text(written(page, path.read_text()))


if __name__ == "__main__":
    main()
