"""How large each client's update is: its length, and the largest change of one value.

Both are taken over all values, because an attacker who knew a sample of them would behave well in
it. An update is measured from the model that clients were given. The other replies have no part in
this, so attackers cannot make anybody else's update look larger.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.audit.marks import Measure
from flwr_byzantine.kernels import Columns, row_sizes
from flwr_byzantine.kernels.columns import as_column_values

Values = npt.NDArray[np.float64]

UNKNOWN = (
    1e-3  # the part of the model that counts as rounding if the model of the clients is not known
)
ROUNDING = 2.0**-24
WHOLE = 100.0  # whole numbers such as counters may be this many times as large as the model's own
_BLOCK = 1 << 18

_LENGTH = "an update {} times as long as usual"
_LARGEST = "a change of one value {} times as large as the usual largest one"
_BUFFERS = "statistics (buffers) {} times as far off as usual"
_WHOLE = "whole numbers {} times as far off as usual"


class Origin(NamedTuple):
    """The point from which updates are measured.

    Parameters
    ----------
    model : Model or None
        The model that clients got. None is zero, for gradients.
    buffers : Collection[int]
        Positions of the tensors that are statistics of the data. They are measured apart, because their
        numbers may have another order of magnitude.
    told : bool
        Whether it is the model that clients got. If not, it is the result of the round before.
    """

    model: Model | None
    buffers: Collection[int] = ()
    told: bool = True


def measures(gated: Gated, origin: Origin) -> list[Measure]:
    """The sizes of the accepted replies, by every measure; none if the origin has another form."""
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
    """Lengths and largest changes of some tensors, shape (n,), and the same for the model itself."""
    clients = list(gated.accepted.values())
    square, most = np.zeros(len(clients)), np.zeros(len(clients))
    model_square = model_most = 0.0
    for dtype, (group, all_columns) in gated.columns.items():
        tensors = [t for t in group if t in chosen]
        columns = all_columns if tensors == group else Columns.of(clients, tensors, dtype)
        base = None
        if origin is not None:
            base = tuple(as_column_values(origin.arrays[t], dtype) for t in tensors)
            of_model = row_sizes(Columns([[array] for array in base], dtype, 1))
            model_square += float(of_model[0][0])
            model_most = max(model_most, float(of_model[1][0]))
        squares, largest = row_sizes(columns, base)
        square += squares
        most = np.maximum(most, largest)
    return np.sqrt(square), most, (float(np.sqrt(model_square)), model_most)


def _whole(gated: Gated, origin: Model | None) -> list[Measure]:
    """Sizes of counters and other whole numbers. Honest ones, such as numbers of batches, may differ much."""
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
