"""What one client may send or do that Flower's FedAvg does not survive, by name; for unit tests and Ray."""

import io
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Parameters, Status
from fuzz_payload import HEADERS, npy

NAN, INF = float("nan"), float("inf")


class Lie(NamedTuple):
    """A reply: tensors by name as bytes, a claimed number of examples, and a loss."""

    tensors: dict[str, bytes]
    num_examples: Any = 10
    loss: float = 0.5


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def good(model):
    return {name: saved(array) for name, array in model.items()}


def with_first(change):
    """The model, with something else in place of its first tensor."""

    def lie(model):
        first = next(iter(model))
        changed = change(model[first])
        return Lie({**good(model), first: saved(changed) if hasattr(changed, "dtype") else changed})

    return lie


def filled(value):
    return lambda model: Lie(good({k: np.full_like(a, value) for k, a in model.items()}))


def claiming(count):
    return lambda model: Lie(good({k: a + 100 for k, a in model.items()}), count)


def tiny(model):
    tensor = saved(np.zeros((), np.float32))
    return Lie({f"t{i}": tensor for i in range(100_000)})


LIES = {
    "wrong shape": with_first(lambda a: np.zeros((a.shape[0] + 1, *a.shape[1:]), a.dtype)),
    "shape (1,)": with_first(lambda a: np.ones(1, a.dtype)),
    "0-d tensor": with_first(lambda a: np.ones((), a.dtype)),
    "empty tensor": with_first(lambda a: np.zeros(0, a.dtype)),
    "extra tensor": lambda model: Lie(good(model) | {"extra": saved(np.ones(3))}),
    "missing tensor": lambda model: Lie(dict(list(good(model).items())[1:])),
    "no tensors": lambda model: Lie({}),
    "100,000 tiny tensors": tiny,
    "text array": with_first(lambda a: np.full(a.shape, "x")),
    "object array": with_first(lambda a: np.full(a.shape, None)),
    "whole numbers": with_first(lambda a: np.ones(a.shape, np.int64)),
    "undecodable bytes": with_first(lambda a: b"\x00" * 64),
    "cut short": with_first(lambda a: saved(a)[:-1]),
    "terabytes claimed": with_first(lambda a: npy(HEADERS[4])),
    "NaN": filled(NAN),
    "infinity": filled(INF),
    "1e20": filled(1e20),
    "1e15 examples": claiming(10**15),
    "1e18 examples": claiming(10**18),
    "NaN examples": claiming(NAN),
    "-1 examples": claiming(-1),
    "0 examples": claiming(0),
}

# As well formed as any: other encodings of the same numbers, and numbers at the edge.
FINE = {
    "float16": with_first(lambda a: a.astype(np.float16)),
    "float64": with_first(lambda a: a.astype(np.float64)),
    "big-endian": with_first(lambda a: a.astype(a.dtype.newbyteorder(">"))),
    "Fortran order": with_first(np.asfortranarray),
    "-0.0": with_first(lambda a: np.full_like(a, -0.0)),
    "denormals": with_first(lambda a: np.full_like(a, 1e-45)),
}


def other_records(lie):
    """Records of the Message API that hold something else than one of arrays and one of metrics."""
    arrays = ArrayRecord({k: Array("", (), "numpy.ndarray", v) for k, v in lie.tensors.items()})
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


RECORDS = tuple(other_records(Lie({})))


def fit_result(lie):
    parameters = Parameters(list(lie.tensors.values()), "numpy.ndarray")
    return FitRes(Status(Code.OK, ""), parameters, lie.num_examples, {"loss": lie.loss})


def record_dict(lie):
    arrays = {k: Array("", (), "numpy.ndarray", v) for k, v in lie.tensors.items()}
    metrics = {"loss": lie.loss, "num-examples": lie.num_examples}
    return RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})
