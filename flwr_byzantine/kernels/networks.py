"""Comparator networks that sort the values of a column, completely or in part.

A comparator (i, j) with i < j leaves the smaller of two values at i and the larger at j. A network is a
fixed sequence of comparators, so it has no branches and sorts many columns at once with vector minima
and maxima. Comparators on up to eight rows are taken together as a sorter, which reads every row once.
"""

from collections import deque
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Comparators = list[tuple[int, int]]

_MERGE_4 = [(0, 2), (1, 3), (1, 2)]
_SORT_4 = [(0, 1), (2, 3), *_MERGE_4]
_MERGE_8 = [(0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)]
_SORT_8 = [*_SORT_4, *((i + 4, j + 4) for i, j in _SORT_4), *_MERGE_8]

SORTERS: list[Comparators] = [[(0, 1)], _MERGE_4, _SORT_4, _MERGE_8, _SORT_8]
"""The comparators of each sorter on its rows 0, 1, .... They are in the order of ``sorters`` in kernels.c."""

Sorter = tuple[int, tuple[int, ...]]


def odd_even_merge_sort(n: int) -> Comparators:
    """Comparators of Batcher's odd-even merge sort for any n.

    Parameters
    ----------
    n : int
        Number of values in a column.

    Returns
    -------
    list[tuple[int, int]]
        Pairs (i, j), i < j, in the order in which they are applied.

    Examples
    --------
    >>> odd_even_merge_sort(3)
    [(0, 1), (0, 2), (1, 2)]

    References
    ----------
    K. E. Batcher, Sorting networks and their applications, AFIPS 1968; D. E. Knuth, The Art of
    Computer Programming, volume 3, algorithm 5.2.2M.
    """
    pairs = []
    size = 1
    while size < n:
        gap = size
        while gap >= 1:
            for start in range(gap % size, n - gap, 2 * gap):
                for i in range(start, min(start + gap, n - gap)):
                    if i // (2 * size) == (i + gap) // (2 * size):
                        pairs.append((i, i + gap))
            gap //= 2
        size *= 2
    return pairs


def in_sorters(pairs: Comparators, n: int) -> list[Sorter]:
    """Take the comparators of a network on n rows together, as many as a sorter does at once.

    Parameters
    ----------
    pairs : list[tuple[int, int]]
        A network.
    n : int
        Number of rows. Row n stands for a row of infinities. With it, a sorter also sorts fewer rows.

    Returns
    -------
    list[tuple[int, tuple[int, ...]]]
        For each sorter its position in ``SORTERS``, and its rows.

    Examples
    --------
    >>> in_sorters(odd_even_merge_sort(4), 4)
    [(2, (0, 1, 2, 3))]
    """
    waiting: list[deque[int]] = [deque() for _ in range(n)]  # of each row, comparators not done yet
    for number, pair in enumerate(pairs):
        for row in pair:
            waiting[row].append(number)
    sorters: list[Sorter] = []
    for number, (first, _) in enumerate(pairs):
        if waiting[first] and waiting[first][0] == number:
            fitting = [_fit(kind, number, pairs, waiting) for kind in range(len(SORTERS))]
            _, kind, rows, done = min(fit for fit in fitting if fit is not None)
            for row in done:
                waiting[row].popleft()
            sorters.append((kind, rows))
    return sorters


def _fit(
    kind: int, number: int, pairs: Comparators, waiting: list[deque[int]]
) -> tuple[float, int, tuple[int, ...], list[int]] | None:
    """The sorter that starts with a comparator: its cost, kind and rows, and the rows of its comparators.

    It is None if its comparators are not the next ones of all its rows.
    """
    n, comparators = len(waiting), SORTERS[kind]
    first, second = pairs[number]
    gap, rest = divmod(second - first, comparators[0][1])
    if rest:
        return None
    num_rows = 1 + max(j for _, j in comparators)
    rows = tuple(min(first + gap * i, n) for i in range(num_rows))
    done: list[int] = []
    for i, j in comparators:
        if rows[j] < n:
            place, other = (
                waiting[row][done.count(row)] if done.count(row) < len(waiting[row]) else None
                for row in (rows[i], rows[j])
            )
            if place is None or place != other or pairs[place] != (rows[i], rows[j]):
                return None
            done += pairs[place]
    # Each row is read and written, and each comparator takes a minimum and a maximum.
    return (num_rows + len(comparators)) / len(done), kind, rows, done


@lru_cache(maxsize=256)
def selection_network(n: int, trim: int, keep: int | None) -> tuple[Sorter, ...]:
    """Sorters that order values only as far as a trimmed mean, and a window of nearest values, need it.

    Parameters
    ----------
    n : int
        Number of rows.
    trim : int
        The ``trim`` smallest and ``trim`` largest values are separated from the middle ones.
    keep : int or None
        If it is given, the first and the last ``n - keep`` values are put in order too. These can be at
        the border of a window of ``keep`` consecutive order statistics.

    Returns
    -------
    tuple[tuple[int, tuple[int, ...]], ...]
        The sorters, in the form of :func:`in_sorters`. A sorter is left out if no later sorter touches its
        rows, and its rows hold values whose order does not matter.
    """
    border = 0 if keep is None else n - keep
    middle = [-1 if i < trim else -3 if i >= n - trim else -2 for i in range(n)]
    label = [i if i < border or i >= n - border else middle[i] for i in range(n)]
    kept: list[Sorter] = []
    touched: set[int] = set()
    for kind, rows in reversed(in_sorters(odd_even_merge_sort(n), n)):
        real = [row for row in rows if row < n]
        if touched.isdisjoint(real) and len({label[row] for row in real}) == 1:
            continue
        kept.append((kind, rows))
        touched.update(real)
    return tuple(kept[::-1])


def comparators(sorters: tuple[Sorter, ...], n: int) -> Comparators:
    """The comparators of sorters on n rows, in order."""
    return [(rows[i], rows[j]) for kind, rows in sorters for i, j in SORTERS[kind] if rows[j] < n]


@lru_cache(maxsize=256)
def as_table(sorters: tuple[Sorter, ...]) -> npt.NDArray[np.int32]:
    """Sorters in the form that kernels.c reads: shape (sorters, 9), the kind and up to eight rows."""
    table = np.zeros((len(sorters), 9), np.int32)
    for line, (kind, rows) in zip(table, sorters, strict=True):
        line[: 1 + len(rows)] = kind, *rows
    return table
