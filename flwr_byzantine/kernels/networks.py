"""Comparator networks that put the values of a column in order, or in part of it.

A comparator (i, j) with i < j leaves the smaller of two values at i and the larger at j. A network is a
fixed sequence of comparators, so it has no branches and sorts many columns at once with vector minima
and maxima.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt


def odd_even_merge_sort(n: int) -> list[tuple[int, int]]:
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


def prune(pairs: list[tuple[int, int]], label: list[int]) -> list[tuple[int, int]]:
    """Leave out comparators whose effect nobody sees.

    Parameters
    ----------
    pairs : list[tuple[int, int]]
        A sorting network.
    label : list[int]
        Positions with equal labels may hold their values in any order afterwards.

    Returns
    -------
    list[tuple[int, int]]
        The network without every trailing comparator between two positions of one label.
    """
    kept: list[tuple[int, int]] = []
    touched: set[int] = set()
    for i, j in reversed(pairs):
        if i in touched or j in touched or label[i] != label[j]:
            kept.append((i, j))
            touched |= {i, j}
    return kept[::-1]


@lru_cache(maxsize=256)
def selection_network(n: int, trim: int, keep: int | None) -> npt.NDArray[np.int64]:
    """Network that separates what a trimmed mean, and a window of nearest values, must tell apart.

    Parameters
    ----------
    n : int
        Number of rows.
    trim : int
        The ``trim`` smallest and ``trim`` largest values are told apart from the middle ones.
    keep : int or None
        Where given, also the values that can be at the border of a window of ``keep`` consecutive
        order statistics are put in order: the first and the last ``n - keep``.

    Returns
    -------
    np.ndarray
        Shape (comparators, 2).
    """
    border = 0 if keep is None else n - keep
    middle = [-1 if i < trim else -3 if i >= n - trim else -2 for i in range(n)]
    label = [i if i < border or i >= n - border else middle[i] for i in range(n)]
    pairs = prune(odd_even_merge_sort(n), label)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
