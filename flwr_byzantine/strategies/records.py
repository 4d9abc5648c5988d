"""Records of Flower's Message API as models and replies, and models as records."""

from collections.abc import Iterable, Mapping

from flwr.app import Array, ArrayRecord, Message

from flwr_byzantine.aggregation.gate import Model, Reply
from flwr_byzantine.aggregation.npy import MalformedTensorError, encode
from flwr_byzantine.checks import wrong


def read_record(record: ArrayRecord) -> Model:
    """View Flower's array record as a model, without copying it.

    Parameters
    ----------
    record : flwr.app.ArrayRecord
        A record whose arrays hold the bytes of .npy files, like those made from numpy or torch.

    Returns
    -------
    flwr_byzantine.aggregation.gate.Model
        A model with the record's names, in its order.

    Raises
    ------
    flwr_byzantine.aggregation.npy.MalformedTensorError
        If an array is no such file. It is a ValueError.
    """
    return Model.read((name, array.data) for name, array in record.items())


def write_record(model: Model) -> ArrayRecord:
    """Write a model as Flower's array record. It is copied once.

    Parameters
    ----------
    model : flwr_byzantine.aggregation.gate.Model
        Any model. Its names become the record's keys.

    Returns
    -------
    flwr.app.ArrayRecord
        One array for each tensor.
    """
    return ArrayRecord(
        {
            name: Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", encode(array))
            for name, array in zip(model.names, model.arrays, strict=True)
        }
    )


def read_messages(
    replies: Iterable[Message], weighted_by_key: str | None, trained: bool, *, measured: bool = True
) -> list[Reply]:
    """What nodes sent, as replies without errors. Nothing that a node sends raises an error.

    Parameters
    ----------
    replies : Iterable[Message]
        The messages that came.
    weighted_by_key : str or None
        The metric that has to be there as the number of examples; None if no such metric is needed.
    trained : bool
        Whether replies hold a record of arrays.
    measured : bool
        Whether replies hold a record of metrics.
    """
    answers = [message for message in replies if not message.has_error()]
    return [_read(message, weighted_by_key, int(trained), int(measured)) for message in answers]


def _read(message: Message, key: str | None, num_arrays: int, num_metrics: int) -> Reply:
    node = str(message.metadata.src_node_id)
    try:
        arrays = list(message.content.array_records.values())
        metrics = list(message.content.metric_records.values())
        list(message.content.config_records)  # raises if names of records are no text
        wrong = None
        if len(metrics) != num_metrics or (num_arrays and len(arrays) != num_arrays):
            found = f"{len(arrays)} array records and {len(metrics)} metric records"
            expected = {
                (1, 1): "one each",
                (0, 1): "one of metrics",
                (1, 0): "one of arrays alone",
                (0, 0): "none of metrics",
            }[num_arrays, num_metrics]
            wrong = f"{found}, expected {expected}"
        elif key is not None and key not in metrics[0]:
            wrong = f"no metric {key!r}"
        if wrong is not None:
            return Reply(node, malformed=wrong, source=message)
        return Reply(
            node,
            [(name, _npy(array)) for name, array in arrays[0].items()] if num_arrays else (),
            dict(metrics[0]) if metrics else {},
            None if key is None else metrics[0][key],
            source=message,
        )
    except Exception as error:  # something else in place of the records
        return Reply(node, malformed=f"unreadable reply ({type(error).__name__})", source=message)


def _npy(array: Array) -> bytes:
    """The bytes of a tensor serialised by numpy. For any other tensor, no bytes, which the gate refuses."""
    return array.data if array.stype == "numpy.ndarray" else b""


def read_first(arrays: ArrayRecord) -> Model:
    """Read a model. Raise ParameterError if it cannot be read. Only the first model of a run can be wrong."""
    if not isinstance(arrays, ArrayRecord):
        advice = "Pass `ArrayRecord(arrays)` of `flwr.app`, or `ArrayRecord(model.state_dict())`."
        raise wrong("initial_arrays", "an `ArrayRecord`", arrays, advice)
    try:
        return read_record(arrays)
    except MalformedTensorError as error:
        expected = "the model to start from, in floating-point or whole numbers"
        advice = "Pass an `ArrayRecord` of its arrays."
        raise wrong("initial_arrays", expected, arrays, advice, found=str(error)) from error


def tensors_of(arrays: ArrayRecord) -> dict[str, bytes]:
    """The bytes of a record's arrays."""
    return {name: array.data for name, array in arrays.items()}


def record_of(tensors: Mapping[str, bytes]) -> ArrayRecord:
    """Flower's array record with the unchanged bytes of a checkpoint's tensors."""
    model = Model.read(tensors.items())
    return ArrayRecord(
        {
            name: Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", data)
            for (name, data), array in zip(tensors.items(), model.arrays, strict=True)
        }
    )
