"""How large each client's update is: its length, and the largest change of one value.

Both are taken over all values, for an attacker who knew which ones are looked at would behave well in those.
An update is measured from the model that clients were given. What the others sent has no part in it, so that
attackers cannot make anybody else's update larger.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flwr_byzantine.aggregation.gate import Array, Gated, Model
from flwr_byzantine.audit.marks import Measure
from flwr_byzantine.kernels import Columns, inner_products
from flwr_byzantine.kernels.columns import as_column_values, computed_in
from flwr_byzantine.kernels.threads import spread

Values = npt.NDArray[np.float64]

UNKNOWN = 1e-3  # of the model: what is rounding where nobody said which model clients were given
ROUNDING = 2.0**-24
WHOLE = 100.0  # times the model's own: how far whole numbers such as counters may go
_BLOCK = 1 << 14

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
    """How large the accepted replies are, by every measure."""
    base, buffers = origin.model, origin.buffers
    assert gated.structure is not None
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
    for dtype, (group, _) in gated.columns.items():
        tensors = [t for t in group if t in chosen]
        columns = Columns.of(clients, tensors, dtype)
        base = None
        if origin is not None:
            base = [as_column_values(origin.arrays[t], dtype) for t in tensors]
            model = Columns([[array] for array in base], dtype, 1)
            model_square += float(inner_products(model, None)[0])
            model_most = max(model_most, float(_largest(model, None)[0]))
        square += inner_products(columns, None, base)
        most = np.maximum(most, _largest(columns, base))
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


def _largest(columns: Columns, base: Sequence[Array] | None) -> Values:
    """The largest distance of one value of each row from the base, shape (n,); NaN where there is one."""
    kind = computed_in(columns.dtype)

    def of_rows(lo: int, hi: int) -> list[float]:
        memory = np.empty(_BLOCK, kind)
        return [_largest_of(columns, row, base, memory) for row in range(lo, hi)]

    with np.errstate(over="ignore", invalid="ignore"):
        parts = spread(of_rows, list(range(columns.num_rows + 1)))
    return np.array([value for part in parts for value in part])


def _largest_of(
    columns: Columns, row: int, base: Sequence[Array] | None, memory: npt.NDArray[Any]
) -> float:
    found = 0.0
    for s, segment in enumerate(columns.segments):
        values = segment[row]
        for lo in range(0, values.size, _BLOCK):
            part = values[lo : lo + _BLOCK]
            out = memory[: part.size]
            with np.errstate(over="ignore", invalid="ignore"):
                if base is None:
                    np.copyto(out, part)
                else:
                    np.subtract(part, base[s][lo : lo + _BLOCK], out=out, dtype=out.dtype)
                found = float(np.maximum(found, max(out.max(), -out.min())))
            if not np.isfinite(found):
                return np.inf
    return found
