"""The result of a stress test as a table that fits terminals of any width."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import StringIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from flwr_byzantine.lab.page import backdoor
from flwr_byzantine.lab.page.colours import LIMITS
from flwr_byzantine.lab.page.data import NONE, Cell, Result, read
from flwr_byzantine.lab.page.text import MISSING, times
from flwr_byzantine.lab.page.words import notes

BETWEEN = 2  # characters from column to column
FEWEST = 2  # a table with fewer columns beside the rules says less than a list
ANY = 10_000  # the longest line in a file, in characters


@dataclass(frozen=True)
class StressTable:
    """Rules down and attacks across. On narrow terminals it becomes several tables, or a list.

    Parameters
    ----------
    columns : Sequence[str]
        The heads of the columns. The column of rules comes first.
    rows : Sequence[Sequence[Text]]
        The cells of each row. The rule comes first.
    title : str
        The text above the table.
    remarks : Sequence[str]
        The texts below the table.
    is_whole : bool
        Whether the table takes the width that it needs, even on a narrow terminal.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    title: str
    remarks: Sequence[str]
    is_whole: bool = False

    @property
    def row_count(self) -> int:
        """How many rules there are."""
        return len(self.rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table in the available width."""
        if self.is_whole:
            options = options.update(width=ANY)
        width = options.max_width
        yield from console.render(Text(self.title, style="italic"), options)
        yield Text()
        for part in self._parts(width) or self._list(width):
            yield from console.render(part, options)
        for remark in self.remarks:
            yield from console.render(Text(remark, style="dim"), options)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Say that the table fits any width."""
        return Measurement(1, options.max_width)

    def _parts(self, width: int) -> list[Table | Text]:
        """Tables with as many columns as fit; no table if too few columns fit."""
        first, *others = [
            max([Text(head).cell_len, *(row[i].cell_len for row in self.rows)]) + BETWEEN
            for i, head in enumerate(self.columns)
        ]
        if first + sum(sorted(others)[-FEWEST:]) > width:
            return []
        groups: list[list[int]] = [[]]
        room = width - first
        for i, own in enumerate(others, 1):
            if own > room:
                groups.append([])
                room = width - first
            groups[-1].append(i)
            room -= own
        return [part for group in groups for part in (self._table([0, *group]), Text())]

    def _table(self, kept: Sequence[int]) -> Table:
        shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for i in kept:
            justify = "right" if i else "left"
            shown.add_column(Text(self.columns[i]), justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in self.rows:
            shown.add_row(*(row[i] for i in kept))
        return shown

    def _list(self, width: int) -> Iterator[Text]:
        """A line for each rule and attack."""
        widest = max([text.cell_len for row in self.rows for text in row[1:]] + [0])
        longest = max([Text(head).cell_len for head in self.columns[1:]] + [0])
        room = max(1, min(longest, width - widest - 4))
        for rule, *texts in self.rows:
            yield rule
            for head, text in zip(self.columns[1:], texts, strict=True):
                name = Text(head)
                name.truncate(room, overflow="ellipsis", pad=True)
                yield Text.assemble("  ", name, "  ", " " * (widest - text.cell_len), text)
            yield Text()


def table(result: Result) -> StressTable:
    """Points lost by rule and attack, and the time of each rule.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    findings = read(result)
    columns = ["rule", *("no attack" if a == NONE else a for a in findings.attacks)]
    rows = []
    for rule in findings.rules:
        chosen = rule == findings.recommended
        cells = [_cell(findings.cell(rule, attack)) for attack in findings.attacks]
        worst = findings.weakest(rule)
        cells.append(_cell(worst) if worst else Text(MISSING, style="dim"))
        cells[-1].stylize("bold")
        name = Text(f"{rule} *" if chosen else rule, style="bold" if chosen else "")
        rows.append([name, *cells, Text(times(findings.cost(rule)))])
    remarks = ["Time is per round, as a multiple of the app's own."]
    remarks += ["* is recommended."] if findings.recommended in findings.rules else []
    return StressTable(
        [*columns, "worst", "time"],
        rows,
        f"Points of {findings.metric} lost against {findings.app} without an attack",
        [
            *remarks,
            *notes(findings),
            *([] if backdoor.attacks_of(findings) else backdoor.remarks(findings)),
        ],
    )


def success_table(result: Result) -> StressTable | None:
    """How often a backdoor works under each rule; None if no backdoor was run.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    findings = read(result)
    attacks = backdoor.attacks_of(findings)
    if not attacks:
        return None
    rows = [
        [Text(rule), *(Text(backdoor.in_words(findings.cell(rule, a))) for a in attacks)]
        for rule in findings.rules
    ]
    heads = ["rule", *("no attack" if a == NONE else a for a in attacks)]
    return StressTable(heads, rows, backdoor.TITLE, backdoor.remarks(findings))


def show(console: Console, result: Result) -> None:
    """Print a result. A terminal limits the width, and a file does not.

    Parameters
    ----------
    console : Console
        The terminal or file to print to.
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    is_narrow = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    for shown in (table(result), success_table(result)):
        if shown is not None and is_narrow:
            console.print(shown)
        elif shown is not None:
            console.print(replace(shown, is_whole=True), crop=False)


def as_text(result: Result) -> str:
    """The table as plain text, in the width that it needs.

    Parameters
    ----------
    result : Mapping[str, Any]
        The content of ``stress.json``. Any part may be missing.
    """
    console = Console(file=StringIO(), color_system=None, width=ANY)
    for shown in (table(result), success_table(result)):
        if shown is not None:
            console.print(shown)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _cell(cell: Cell) -> Text:
    if cell.loss is None:
        return Text(cell.loss_in_words, style="red" if cell.error else "dim")
    style = "green" if cell.loss <= LIMITS[0] else "red" if cell.loss > LIMITS[3] else "yellow"
    return Text(f"{cell.loss_in_words} {cell.spread_in_words}".rstrip(), style=style)
