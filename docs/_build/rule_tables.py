"""Tables of README.md and docs/ on rules and attacks, from their code.

The first sentence of a docstring says what a rule or an attack does, and its References say where it comes
from. The Notes of a rule may say "Without an attacker it averages ...." and "It fails ...." for the last two
columns. They say "It needs ...." if no number of updates is enough by itself.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any

from markdown_table import table

from flwr_byzantine import attacks, rules
from flwr_byzantine.lab.names import AGAINST, BY_NAME
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.preaggregation import PreAggregation
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.settings import public_names
from flwr_byzantine.strategies.words import FIT_WORDS

MOST = 60  # bounds are looked for among numbers of updates below this

# What an attacker is given, by the kind of the attack. In all other attacks it is given its own training data.
KNOWN = {
    attacks.LocalAttack: "own update",
    attacks.ColludingAttack: "honest updates",
    attacks.ModelAttack: "global models",
    attacks.ChannelAttack: "the values that it transmits",
}

# Some strategies know more than a round's updates, so they are no rules. The first entry says what the strategy
# does. The second entry holds the number of updates that it needs, its cost, its source, and what it averages
# without an attacker. The last entry says under what it fails.
OTHERS = {
    "ByGARS": (
        "Mean weighted by reputations, which k steps on data of the server refine in each round",
        ("any f", "knd", "Regatti et al. 2020", "all updates, weighted by scores"),
        "bit flips in every update; too little auxiliary data; LIE, if the task is hard to learn",
    ),
    "ByGARSPlusPlus": (
        "Mean weighted by reputations, which one inner product for each client and round changes",
        ("any f", "nd", "Regatti et al. 2020", "all updates, weighted by scores"),
        "bit flips in every update; LIE",
    ),
    "FLTrust": (
        "Mean weighted by the cosine with an update of the server's own; all updates get its length",
        ("any f", "nd", "Cao et al. 2021", "all updates, weighted by cosines"),
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


def readme_rules() -> str:
    """The table of rules in README.md: what each does and needs, and its source."""
    rows = [(f"`{kind.__name__}`", does(kind), needs(kind), source(kind)) for kind in pure()]
    rows += [(f"`{name}`", text, more[0], more[2]) for name, (text, more, _) in OTHERS.items()]
    rows = [(name, text, needed.removeprefix("n >= "), whose) for name, text, needed, whose in rows]
    before = ", ".join(f"`{kind.__name__}`" for kind in steps())
    parts = [
        f"There are {len(rows)} rules. Each is a strategy in both APIs.",
        table(("rule", "what it returns", "n at least", "source"), *rows),
        f"Any number of [pre-aggregations](docs/pre-aggregations.md) can stand in front of a rule: {before}.",
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
    text += f"These are their names for `--attacks`,\nwhere `optimized` is written {names}."
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
        "A pre-aggregation stands in front of a rule. r is how many rows the rule behind it needs. Each bucket "
        "holds two updates."
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
