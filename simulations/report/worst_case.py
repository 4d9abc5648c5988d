"""What each rule loses in its worst case, and when that is less than no defence loses."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from flwr_byzantine.lab.page import colours
from flwr_byzantine.lab.page.grid import Key, Row, Square, drawing
from flwr_byzantine.lab.page.text import MISSING, signed
from simulations.report.blocks import Block, Table, Text
from simulations.report.drawings import Drawing
from simulations.report.names import written
from simulations.report.pool import Loss, Pool
from simulations.report.seeds import each, shown

WORST_CASE = "worst case"  # the kind of the picture
HIGH = 44  # pixels of a row
SHORT = 12  # letters of an attack below a number
CHANCES = (0, 2, 5, 10, 20, 40, 70)  # limits of the colours, in per cent
LOW = 30  # pixels of a row whose cells have one line
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"  # before a number that may still grow
NEVER = 1.0  # no likelihood of an attack is high enough
READING = (
    "Points lost are counted against no defence and no attack, on the same data and with the same "
    "seeds. The worst attack is the one with the highest mean over the seeds. In the picture of the "
    f"worst case, each number is what the rule loses under its worst attack. It has the sign {AT_LEAST} if "
    "not all of its attacks have been run. A blue cell means that this is less than no defence loses in its "
    "own worst case, on the same data. An orange cell means that it is more: the defence costs more than "
    "the attack. A ring marks the least number of each column. The rules are in the order of their means. "
    "A defence may cost something even if nobody attacks. So the last column of the tables, and the "
    "second picture, show how likely an attack has to be for the defence to lose fewer points on average "
    "than no defence does."
)


def worst_case_blocks(pool: Pool) -> Iterator[Block | Drawing]:
    """Yield the picture of the worst case, and what shows when a defence costs more than the attack."""
    ranked = _ranked(pool)
    if not ranked:
        return
    yield Text(READING)
    shows = "points lost in the worst case, against no defence and no attack"
    yield Drawing(WORST_CASE, shows, _worst_picture(pool, ranked))
    shows = "how likely an attack has to be for a defence to be worth it (%)"
    yield Drawing("break even", shows, _break_even_picture(pool, ranked))
    for data in pool.data:
        yield from _decision(pool, ranked, data)


def chance(cost: float, worst: float, undefended: float) -> float:
    """Return how likely an attack has to be for a defence to be worth it. 1 means that it never is.

    Parameters
    ----------
    cost : float
        Points that the defence loses without an attack.
    worst : float
        Points that it loses in its worst case.
    undefended : float
        Points that no defence loses in its own worst case.

    Examples
    --------
    >>> chance(2, 4, 10), chance(-1, 4, 10), chance(2, 10, 4)
    (0.25, 0.0, 1.0)
    """
    if worst >= undefended:
        return NEVER
    return max(0.0, cost / (cost + undefended - worst)) if cost > 0 else 0.0


def _ranked(pool: Pool) -> list[str]:
    """The rules, by their mean loss in the worst case. Rules without a reference are left out."""
    found = {}
    for rule in pool.rules:
        losses = [loss.mean for data in pool.data if (loss := pool.worst(rule, data))]
        if losses:
            found[rule] = fmean(losses)
    return sorted(found, key=lambda rule: found[rule])


def _name(pool: Pool, rule: str) -> str:
    name = pool.results.shown(pool.experiment, rule)
    return f"{name} (no defence)" if pool.is_plain(rule) else name


def _head(data: str) -> str:
    return data or "all"


def _worst_picture(pool: Pool, ranked: list[str]) -> str:
    undefended = {data: pool.worst(pool.plain, data) for data in pool.data}
    least = {
        data: min((w.mean for rule in ranked if (w := pool.worst(rule, data))), default=None)
        for data in pool.data
    }

    def square(rule: str, data: str) -> Square:
        worst, cost, plain = pool.worst(rule, data), pool.cost(rule, data), undefended[data]
        words = f"{_name(pool, rule)}, {_head(data)}"
        if worst is None:
            return Square(MISSING, None, f"{words}: not run")
        met, planned = pool.met(rule, data)
        attacks = "1 attack" if met == 1 else f"{met} attacks"
        attacks += "" if met == planned else f" of {planned} so far"
        words += (
            f": {shown(worst.values)} points lost under {written(worst.attack)}, the worst of {attacks}; "
            f"{each(worst.values)}"
        )
        if cost:
            words += f"; {shown(cost.values)} without an attack"
        if plain:
            words += f"; no defence loses {shown(plain.values)} under {written(plain.attack)}"
        step = colours.step(worst.mean - (plain.mean if plain else 0), colours.BETTER_OR_WORSE)
        below = _cut(written(worst.attack))
        number = _points(worst.mean) if met == planned else f"{AT_LEAST} {_points(worst.mean)}"
        return Square(number, step, words, below, worst.mean == least[data])

    rows = [
        Row(_name(pool, rule), [square(rule, data) for data in pool.data], is_strong=rule == pool.plain)
        for rule in ranked
    ]  # fmt: skip
    missing = "not run" if any(s.step is None for row in rows for s in row.squares if s) else ""
    key = Key(
        "points lost at worst; orange: more than no defence, blue: fewer",
        colours.BETTER_OR_WORSE,
        "the least of the column",
        missing,
        colours.DIVERGING,
    )
    title = f"{pool.experiment}: points lost in the worst case, against no defence and no attack"
    said = f"Rules from the least to the most: {', '.join(_name(pool, rule) for rule in ranked)}."
    return drawing(title, said, [_head(data) for data in pool.data], rows, key, HIGH)


def _break_even_picture(pool: Pool, ranked: list[str]) -> str:
    def square(rule: str, data: str) -> Square:
        found = _chance(pool, rule, data)
        words = f"{_name(pool, rule)}, {_head(data)}"
        if found is None:
            return Square(MISSING, None, f"{words}: not run")
        said = _likelihood(found)
        return Square(said, colours.step(100 * found, CHANCES), f"{words}: {said}")

    rules = [rule for rule in ranked if not pool.is_plain(rule)]
    rows = [Row(_name(pool, rule), [square(rule, data) for data in pool.data]) for rule in rules]
    missing = "not run" if any(s.step is None for row in rows for s in row.squares if s) else ""
    key = Key("likelihood of an attack from which on it is worth it (%)", CHANCES, "", missing)
    title = f"{pool.experiment}: how likely an attack has to be for a defence to be worth it"
    said = "A defence is worth it where it loses fewer points than no defence, on average."
    return drawing(title, said, [_head(data) for data in pool.data], rows, key, LOW)


def _decision(pool: Pool, ranked: list[str], data: str) -> Iterator[Block]:
    """Yield a table for one kind of data: what each defence costs, and what it saves."""
    plain = pool.worst(pool.plain, data)
    if plain is None:
        return
    yield Text(
        f"**{_head(data)}**: without a defence the worst attack, {written(plain.attack)}, costs "
        f"{shown(plain.values)} points."
    )
    rows = []
    for rule in sorted(ranked, key=lambda rule: _rank(pool.worst(rule, data))):
        worst, cost = pool.worst(rule, data), pool.cost(rule, data)
        if worst is None or pool.is_plain(rule):
            continue
        met, planned = pool.met(rule, data)
        so_far = "" if met == planned else f" ({met} of {planned} attacks)"
        same = pool.loss(pool.plain, worst.attack, data)
        found = _chance(pool, rule, data)
        rows.append([
            _name(pool, rule),
            shown(cost.values) if cost else "not run",
            f"{shown(worst.values)}, {written(worst.attack)}{so_far}",
            shown(same.values) if same else "not run",
            "not run" if found is None else _likelihood(found),
        ])  # fmt: skip
    yield Table(
        [
            f"points lost, {_head(data)}",
            "no attack: the defence costs",
            "in its worst case",
            "no defence under that attack",
            "worth it where an attack is this likely",
        ],
        rows,
    )


def _rank(loss: Loss | None) -> float:
    return loss.mean if loss else 0.0


def _chance(pool: Pool, rule: str, data: str) -> float | None:
    worst, cost = pool.worst(rule, data), pool.cost(rule, data)
    plain = pool.worst(pool.plain, data)
    if worst is None or cost is None or plain is None:
        return None
    return chance(cost.mean, worst.mean, plain.mean)


def _likelihood(found: float) -> str:
    """A likelihood in words.

    Examples
    --------
    >>> _likelihood(0.0), _likelihood(0.124), _likelihood(1.0)
    ('always', '> 12 %', 'never')
    """
    if found == NEVER:
        return "never"
    return "always" if found == 0 else f"> {min(99, round(100 * found))} %"


def _points(lost: float) -> str:
    rounded = f"{lost:.0f}" if abs(lost) >= 10 else f"{lost:.1f}"
    return signed("0.0" if rounded == "-0.0" else rounded)


def _cut(name: str) -> str:
    """An attack without its parameters, cut to what fits."""
    kind = name.partition(",")[0]
    return kind if len(kind) <= SHORT else kind[: SHORT - 1] + "…"
