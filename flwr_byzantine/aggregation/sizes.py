"""How large each client's update is: its length, and the largest change of one value.

Both are taken over all values, for an attacker who knew which ones are looked at would behave well in those.
An update is measured from the model that clients were given. What the others sent has no part in it, so that
attackers cannot make anybody else's update larger.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.audit.marks import Measure
from flwr_byzantine.kernels import Columns
from flwr_byzantine.kernels.checks import check_base
from flwr_byzantine.kernels.columns import as_column_values, computed_in
from flwr_byzantine.kernels.compiled import choice
from flwr_byzantine.kernels.threads import spread

Values = npt.NDArray[np.float64]
Segments = tuple[npt.NDArray[Any], ...]

UNKNOWN = 1e-3  # of the model: what is rounding where nobody said which model clients were given
ROUNDING = 2.0**-24
WHOLE = 100.0  # times the model's own: how far whole numbers such as counters may go
_BLOCK = 1 << 14
_STRETCH, _STRETCHES = 1 << 13, 1 << 10  # values in one, at least; and how many, at most
LONG = 2.0  # times the usual longest stretch of a row: longer ones are looked at

_LENGTH = "an update {} times as long as usual"
_LARGEST = "a change of one value {} times as large as the usual largest one"
_BUFFERS = "statistics (buffers) {} times as far off as usual"
_WHOLE = "whole numbers {} times as far off as usual"


class Origin(NamedTuple):
    """What updates are measured from.

    Parameters
    ----------
    model : Model or None
        The model that clients were given. None is zero, for gradients.
    buffers : Collection[int]
        Positions of the tensors that are statistics of the data. They are measured apart, for their
        numbers may be of another order.
    told : bool
        Whether it is what clients were given. If not, it is what the round before came to.
    """

    model: Model | None
    buffers: Collection[int] = ()
    told: bool = True


def measures(gated: Gated, origin: Origin) -> list[Measure]:
    """How large the accepted replies are, by every measure; none where the origin is of another form."""
    base, buffers = origin.model, origin.buffers
    assert gated.structure is not None
    if base is not None and base.signature != gated.structure.signature:
        return []
    floats = [t for tensors, _ in gated.columns.values() for t in tensors]
    found = []
    if values := [t for t in floats if t not in buffers]:
        length, most, model = _sizes(gated, base, values)
        rounding = ROUNDING if origin.told else UNKNOWN
        found = [
            Measure("length", _LENGTH, length, rounding * model[0], model[0] or 1.0),
            Measure("largest", _LARGEST, most, rounding * model[1], model[1] or 1.0),
        ]
    if statistics := [t for t in floats if t in buffers]:
        length, most, model = _sizes(gated, base, statistics)
        found += [
            Measure("buffers", _BUFFERS, length, model[0], model[0] or 1.0),
            Measure("largest buffer", _BUFFERS, most, model[1], model[1] or 1.0),
        ]
    return found + _whole(gated, base)


def _sizes(
    gated: Gated, origin: Model | None, chosen: Collection[int]
) -> tuple[Values, Values, tuple[float, float]]:
    """Lengths and largest changes of some tensors, shape (n,), and both of the model itself."""
    clients = list(gated.accepted.values())
    square, most = np.zeros(len(clients)), np.zeros(len(clients))
    model_square = model_most = 0.0
    for dtype, (group, all_columns) in gated.columns.items():
        tensors = [t for t in group if t in chosen]
        columns = all_columns if tensors == group else Columns.of(clients, tensors, dtype)
        base = None
        if origin is not None:
            base = tuple(as_column_values(origin.arrays[t], dtype) for t in tensors)
            of_model = _measured(Columns([[array] for array in base], dtype, 1), None)
            model_square += float(of_model[0][0])
            model_most = max(model_most, float(of_model[1][0]))
        squares, largest = _measured(columns, base)
        square += squares
        most = np.maximum(most, largest)
    return np.sqrt(square), most, (float(np.sqrt(model_square)), model_most)


def _whole(gated: Gated, origin: Model | None) -> list[Measure]:
    """Of counters and other whole numbers; honest ones may differ much, as numbers of batches do."""
    assert gated.structure is not None
    chosen = [t for t, array in enumerate(gated.structure.arrays) if array.dtype.kind in "iu"]
    chosen = [t for t in chosen if gated.structure.arrays[t].size]
    if not chosen:
        return []
    usual = 0.0
    if origin is not None:
        usual = max(float(np.abs(origin.arrays[t].astype(np.float64)).max()) for t in chosen)
    values = np.array(
        [
            max(_farthest(client[t], None if origin is None else origin.arrays[t]) for t in chosen)
            for client in gated.accepted.values()
        ]
    )
    return [Measure("whole", _WHOLE, values, WHOLE * (1 + usual), WHOLE * (1 + usual))]


def _farthest(array: Array, base: Array | None) -> float:
    """The largest distance of one whole number from the base."""
    values, largest = array.reshape(-1), 0.0
    for lo in range(0, values.size, _BLOCK):
        part = values[lo : lo + _BLOCK].astype(np.float64)
        if base is not None:
            part -= base.reshape(-1)[lo : lo + _BLOCK]
        largest = max(largest, float(np.abs(part).max()))
    return largest


def _measured(columns: Columns, base: Segments | None) -> tuple[Values, Values]:
    """Squared length of each row from the base, and its largest change of one value; both of shape (n,).

    One reading of the rows gives the lengths, stretch by stretch. The largest change is looked for in the
    longest stretch of each row, and in all that are long enough to hold one that stands out: elsewhere no
    value is as large as such a stretch is long.
    """
    check_base(base, columns, add_base=False)  # compiled code follows addresses
    d, chosen = columns.num_columns, choice()
    stretch = max(_STRETCH, -(-d // _STRETCHES))
    bounds = [*range(0, d, stretch), d]
    parts = spread(
        lambda lo, hi: chosen.kernels.inner_products(columns, base, None, lo, hi),
        bounds,
        chosen.threads,
    )
    squares = np.array(parts).reshape(len(parts), columns.num_rows)
    squares[np.isnan(squares)] = np.inf
    if not len(squares):
        return np.zeros(columns.num_rows), np.zeros(columns.num_rows)
    longest = squares.max(axis=0)
    look = squares > LONG**2 * np.median(longest)
    look[squares.argmax(axis=0), np.arange(columns.num_rows)] = True
    largest = np.zeros(columns.num_rows)
    for row in range(columns.num_rows):
        for part in np.flatnonzero(look[:, row]):
            found = _largest(columns, row, base, bounds[part], bounds[part + 1])
            largest[row] = np.maximum(largest[row], found)
    with np.errstate(over="ignore"):
        return squares.sum(axis=0), largest


def _largest(columns: Columns, row: int, base: Segments | None, lo: int, hi: int) -> float:
    """The largest distance of one value of a row from the base, in some columns; infinite for NaN."""
    kind, offsets, found = computed_in(columns.dtype), columns.offsets, 0.0
    first = int(np.searchsorted(offsets, lo, side="right")) - 1
    for s in range(first, len(columns.segments)):
        start = int(offsets[s])
        if start >= hi:
            break
        part = slice(max(lo - start, 0), hi - start)
        values = columns.segments[s][row][part].astype(kind, copy=False)
        if values.size == 0:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            moved = values if base is None else values - base[s][part].astype(kind, copy=False)
            found = float(np.maximum(found, max(moved.max(), -moved.min())))
        if not np.isfinite(found):
            return np.inf
    return found
