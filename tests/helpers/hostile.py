"""The catalogue of replies that Flower's FedAvg does not survive, by name.

Every kind of reply is a function of a model, which is tensors by name. ``LIES``, ``FINE`` and ``RECORDS``
have lines in docs/faults.md. Each kind of ``LIES`` and ``RECORDS`` is sent in a round on Ray. ``MORE_...``
are other forms of the same.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Parameters, Status
from fuzz_npy import HEADERS, npy, saved

NAN, INF = math.nan, math.inf


@dataclass
class Lie:
    """A reply: tensors by name as bytes, a claimed number of examples, and metrics."""

    tensors: dict[str, bytes]
    num_examples: Any = 10
    metrics: dict[str, Any] = field(default_factory=lambda: {"loss": 0.5})


def good(model):
    return {name: saved(array) for name, array in model.items()}


def with_one(change, which):
    """The model, with something else in the place of its first or last tensor."""

    def lie(model):
        name = list(model)[which]
        changed = change(model[name])
        return Lie({**good(model), name: saved(changed) if hasattr(changed, "dtype") else changed})

    return lie


def with_first(change):
    return with_one(change, 0)


def with_last(change):
    return with_one(change, -1)


def filled(value):
    """The model, with a value in the place of all its floating-point numbers."""

    def lie(model):
        with np.errstate(over="ignore"):
            floats = {k: np.full_like(a, value) for k, a in model.items() if a.dtype.kind == "f"}
        return Lie(good({**model, **floats}))

    return lie


def claiming(count):
    return lambda model: Lie(good({k: a + 100 for k, a in model.items()}), count)


def reporting(**metrics):
    return lambda model: Lie(good({k: a + 2 for k, a in model.items()}), metrics=metrics)


def many(count, tensor):
    return lambda model: Lie({f"t{i}": tensor for i in range(count)})


def first_only(model):
    return Lie({name: saved(array) for name, array in list(model.items())[:1]})


def both_infinities(array):
    return np.resize([INF, -INF], array.shape).astype(array.dtype)


TINY = saved(np.zeros((), np.float32))

MALFORMED = {
    "wrong shape": with_first(lambda a: np.zeros((a.shape[0] + 1, *a.shape[1:]), a.dtype)),
    "shape (1,)": with_first(lambda a: np.ones(1, a.dtype)),
    "0-d tensor": with_first(lambda a: np.ones((), a.dtype)),
    "empty tensor": with_first(lambda a: np.zeros(0, a.dtype)),
    "extra tensor": lambda model: Lie(good(model) | {"extra": saved(np.ones(3))}),
    "missing tensor": lambda model: Lie(dict(list(good(model).items())[1:])),
    "no tensors": lambda model: Lie({}),
    "100,000 tiny tensors": many(100_000, TINY),
    "text array": with_first(lambda a: np.full(a.shape, "x")),
    "object array": with_first(lambda a: np.full(a.shape, None)),
    "whole numbers": with_first(lambda a: np.ones(a.shape, np.int64)),
    "undecodable bytes": with_first(lambda a: b"\x00" * 64),
    "cut short": with_first(lambda a: saved(a)[:-1]),
    "terabytes claimed": with_first(lambda a: npy(HEADERS[4])),
}

MORE_MALFORMED = {
    "transposed": with_first(lambda a: np.ones(a.shape[::-1], a.dtype)),
    "flattened": with_first(np.ravel),
    "another axis": with_first(lambda a: np.ones((1, *a.shape), a.dtype)),
    "empty along one axis": with_first(lambda a: np.ones((0, *a.shape[1:]), a.dtype)),
    "extra tensor like the last": lambda model: Lie(good(model) | {"c": list(good(model).values())[-1]}),
    "first tensor only": first_only,
    "10,000 tiny tensors": many(10_000, TINY),
    "3,000 empty tensors": many(3_000, saved(np.empty((0,), "f4"))),
    "last: shape (1,)": with_last(lambda a: np.ones(1, a.dtype)),
    "last: shape ()": with_last(lambda a: np.ones((), a.dtype)),
    "last: whole numbers": with_last(lambda a: np.ones(a.shape, np.int64)),
    "last: complex numbers": with_last(lambda a: np.ones(a.shape, complex)),
    "last: long doubles": with_last(lambda a: np.ones(a.shape, np.longdouble)),
    "last: text": with_last(lambda a: np.resize(["a", "b"], a.shape)),
    "last: dates": with_last(lambda a: np.full(a.shape, "2020-01-01", "datetime64[D]")),
    "last: objects": with_last(lambda a: np.resize(np.array([1.0, None], object), a.shape)),
    "last: records": with_last(lambda a: np.zeros(a.shape, [("x", "f4")])),
    "last: no bytes": with_last(lambda a: b""),
    "last: noise": with_last(lambda a: bytes(range(256))),
    "last: zip archive": with_last(lambda a: b"PK\x03\x04" + bytes(99)),
    "last: pickle": with_last(lambda a: b"\x80\x04N."),
    "last: cut short": with_last(lambda a: saved(a)[:-1]),
    "last: header only": with_last(lambda a: saved(a)[:128]),
    "last: trailing bytes": with_last(lambda a: saved(a) + b"\x00"),
    "last: terabyte": with_last(lambda a: npy(HEADERS[4] + "\n", bytes(64))),
}  # fmt: skip

# These are well formed. The rule has to survive them.
NUMBERS = {
    "NaN": filled(NAN),
    "infinity": filled(INF),
    "1e20": filled(1e20),
    "1e15 examples": claiming(10**15),
    "1e18 examples": claiming(10**18),
    "NaN examples": claiming(NAN),
    "-1 examples": claiming(-1),
    "0 examples": claiming(0),
}

MORE_NUMBERS = {
    "NaN in one tensor": with_first(lambda a: np.full_like(a, NAN)),
    "both infinities": with_last(both_infinities),
    "float64 beyond float32": with_first(lambda a: np.full(a.shape, 1e300)),
    "infinitely many examples": claiming(INF),
    "-10 examples": claiming(-10),
    "another metric": reporting(loss=0.5, surprise=1.0),
    "NaN metric": reporting(loss=NAN),
    "huge metric": reporting(loss=1e300),
    "a metric of ours": reporting(**{"byzantine/num_dropped": 99, "byzantine/skipped": 1}),
}

LIES = MALFORMED | NUMBERS
ALL_MALFORMED = MALFORMED | MORE_MALFORMED
ALL_NUMBERS = NUMBERS | MORE_NUMBERS
CATALOGUE = ALL_MALFORMED | ALL_NUMBERS

# These are good replies: other encodings of the same numbers, and numbers at the edge.
FINE = {
    "float16": with_first(lambda a: a.astype(np.float16)),
    "float64": with_first(lambda a: a.astype(np.float64)),
    "big-endian": with_first(lambda a: a.astype(a.dtype.newbyteorder(">"))),
    "Fortran order": with_first(np.asfortranarray),
    "-0.0": with_first(lambda a: np.full_like(a, -0.0)),
    "denormals": with_first(lambda a: np.full_like(a, 1e-45)),
}


def array_of(data, stype="numpy.ndarray"):
    return Array("", (), stype, data)


def other_records(lie):
    """Records of the Message API that do not hold exactly one record of arrays and one of metrics."""
    arrays = ArrayRecord({k: array_of(v) for k, v in lie.tensors.items()})
    metrics = MetricRecord({"num-examples": 10, "loss": 0.5})
    return {
        "missing metric": {"arrays": arrays, "metrics": MetricRecord({"loss": 1.0})},
        "extra metric": {"arrays": arrays, "metrics": MetricRecord({**metrics, "new": 1})},
        "other keys": {"my-arrays": arrays, "my-metrics": metrics},
        "no metric record": {"arrays": arrays},
        "two metric records": {"arrays": arrays, "metrics": metrics, "more": metrics},
        "no array record": {"metrics": metrics},
        "two array records": {"arrays": arrays, "more": arrays, "metrics": metrics},
        "empty record": {},
    }


def more_records(lie):
    """Other forms of such records."""
    *first, last = lie.tensors or [""]
    tensors = {k: array_of(v) for k, v in lie.tensors.items()}
    arrays, metrics = ArrayRecord(tensors), MetricRecord({"num-examples": 10, "loss": 0.5})
    renamed = {**{k: tensors[k] for k in first}, "another": tensors.get(last)}
    torch_saved = tensors | {last: array_of(lie.tensors.get(last), "torch.save")}
    backwards = dict(reversed(tensors.items()))
    return {
        "empty metric record": {"arrays": arrays, "metrics": MetricRecord({})},
        "empty array record": {"arrays": ArrayRecord({}), "metrics": metrics},
        "other tensor names": {"arrays": ArrayRecord(renamed), "metrics": metrics},
        "serialised otherwise": {"arrays": ArrayRecord(torch_saved), "metrics": metrics},
        "a record of configuration": {
            "arrays": arrays, "metrics": metrics, "extra": ConfigRecord({"a": 1}),
        },
        "list of example counts": {
            "arrays": arrays, "metrics": MetricRecord({"num-examples": [1, 2]}),
        },
        "list of numbers": {
            "arrays": arrays, "metrics": MetricRecord({"num-examples": 1, "loss": [1.0, 2.0]}),
        },
        "other order of tensors": {"arrays": ArrayRecord(backwards), "metrics": metrics},
    }  # fmt: skip


RECORDS = tuple(other_records(Lie({"": b""})))
MORE_RECORDS = tuple(more_records(Lie({"": b""})))
# These hold one record of arrays and one of metrics, for a reader that ignores names and order.
SEEN_RECORDS = {
    "extra metric", "other keys", "a record of configuration", "list of example counts",
    "list of numbers", "other order of tensors",
}  # fmt: skip

# Parts from which the fuzzer of replies builds its own.
VALUES = [0.0, -0.0, 5e-324, 1e-45, 1.0, -1e30, 3e38, 1e308, INF, -INF, NAN]
DTYPES = ["<f4", ">f4", "<f2", ">f8", "<i8", ">i2", "u1", "?", "<c8", "<U3", "S2", "<M8[s]", "O"]
SHAPES = [(3, 4), (2,), (), (1,), (0,), (12,), (4, 3), (1, 3, 4), (0, 2**40), (1,) * 32]
ODDITIES = [
    None, True, "text", b"bytes", "", [], {}, {"a": 1}, object(), 10**400, 1j, float, [1, "x"],
]  # fmt: skip


def fit_result(lie):
    parameters = Parameters(list(lie.tensors.values()), "numpy.ndarray")
    return FitRes(Status(Code.OK, ""), parameters, lie.num_examples, dict(lie.metrics))


def record_dict(lie):
    arrays = {k: array_of(v) for k, v in lie.tensors.items()}
    metrics = {**lie.metrics, "num-examples": lie.num_examples}
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})
