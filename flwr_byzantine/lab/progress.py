"""The progress of runs: the rounds that are finished, and the time that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

WIDTH = 48  # characters of a run's name


class Steps:
    """Counts the finished rounds of several runs.

    Parameters
    ----------
    runs : int
        How many runs there are.
    each : int
        How many rounds a run has. A run with more or fewer rounds counts as this many.
    """

    def __init__(self, runs: int, each: int) -> None:
        self.each, self.total = each, runs * each
        self._of: Counter[Hashable] = Counter()

    def round(self, run: Hashable) -> int:
        """Count a finished round of a run, and return how many rounds are finished in all runs."""
        self._of[run] = min(self._of[run] + 1, self.each - 1)
        return self._of.total()

    def end(self, run: Hashable) -> int:
        """Count a run as finished, and return how many rounds are finished in all runs."""
        self._of[run] = self.each
        return self._of.total()


class Bar:
    """A bar on the terminal, with the present run and the time left.

    Parameters
    ----------
    progress : rich.progress.Progress
        The display that shows the bar.
    """

    def __init__(self, progress: Progress) -> None:
        self.console = progress.console
        self._progress = progress
        self._task = progress.add_task("starting", total=None, note="")

    def show(self, done: int, total: int, what: str, note: str | None = None) -> None:
        """Show how many rounds are finished, and to which run the last one belongs."""
        name = escape(what[:WIDTH])
        self._progress.update(self._task, completed=done, total=total, description=name)
        if note is not None:
            self._progress.update(self._task, note=note)


@contextmanager
def bar(console: Console, transient: bool = False) -> Iterator[Bar]:
    """Show a bar while runs go on.

    Parameters
    ----------
    console : rich.console.Console
        The terminal or file that shows it.
    transient : bool (default: False)
        Whether the bar is removed at the end.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    left = TimeRemainingColumn(elapsed_when_finished=True)
    with Progress(
        *columns,
        TextColumn("{task.fields[note]}"),
        left,
        console=console,
        transient=transient,
        disable=transient and not console.is_terminal,  # nothing can be removed from a file
    ) as progress:
        yield Bar(progress)
