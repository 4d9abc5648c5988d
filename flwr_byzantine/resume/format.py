"""A checkpoint: a model, its round and a strategy's state, in one file of numpy arrays."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from flwr_byzantine.aggregation.npy import MalformedTensorError, clip, decode
from flwr_byzantine.checks import is_whole

FORMAT = "flwr-byzantine checkpoint"
VERSION = 2
_HEADER = "header.json"


class CheckpointError(ValueError):
    """A file is no checkpoint that this library reads, or belongs to another run. The text says why."""


class ForeignCheckpointError(CheckpointError):
    """A run cannot go on from a complete checkpoint. The previous checkpoint would not help either."""


class StateError(CheckpointError, TypeError):
    """A strategy has state that no checkpoint can hold."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on after a round.

    Parameters
    ----------
    server_round : int
        The last finished round.
    tensors : Mapping[str, bytes]
        The global model after that round: name -> the bytes of a .npy file, in order.
    state : Mapping[str, Any]
        All other things that later rounds depend on: arrays, numbers, text, True, False and None, in lists
        and in dictionaries with text keys.
    made_by : Mapping[str, str]
        What has to be the same in the run that reads the checkpoint, such as the strategy's name.
    """

    server_round: int
    tensors: Mapping[str, bytes]
    state: Mapping[str, Any] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)

    def write(self, file: BinaryIO) -> None:
        """Write as a zip file of .npy files, which ``numpy.load`` opens, and a header with a checksum.

        Raises
        ------
        StateError
            If the state holds anything else. It is also a TypeError.
        """
        arrays: list[bytes] = []
        header = {
            "format": FORMAT,
            "version": VERSION,
            "round": int(self.server_round) if is_whole(self.server_round) else self.server_round,
            "names": list(self.tensors),
            "made_by": dict(self.made_by),
            "state": _pack(self.state, arrays),
        }
        members = {f"model/{i}.npy": data for i, data in enumerate(self.tensors.values())}
        members |= {f"state/{i}.npy": data for i, data in enumerate(arrays)}
        header["sha256"] = _digest(header, members)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(_HEADER), json.dumps(header))
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name), data)

    @classmethod
    def read(cls, file: BinaryIO) -> "Checkpoint":
        """Read what :meth:`write` wrote. Raise CheckpointError if it is something else, or damaged."""
        try:
            with zipfile.ZipFile(file) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            header = json.loads(members.pop(_HEADER))
            digest, kind, version = header.pop("sha256"), header["format"], header["version"]
            server_round, names, state = header["round"], header["names"], header["state"]
        except Exception as error:  # zipfile and json raise many kinds of errors for foreign bytes
            raise CheckpointError(f"torn, or no checkpoint ({type(error).__name__})") from None
        if kind != FORMAT or version != VERSION:
            raise CheckpointError(f"{clip(kind)} of version {clip(version)}, expected {VERSION}")
        if _digest(header, members) != digest:
            raise CheckpointError("damaged: the checksum does not match")
        tensors = {name: members[f"model/{i}.npy"] for i, name in enumerate(names)}
        if not is_whole(server_round) or server_round < 0:
            raise ForeignCheckpointError(f"its round is not a whole number: {clip(server_round)}")
        try:
            nan = tensor_with_nan(tensors)
        except MalformedTensorError as error:
            raise ForeignCheckpointError(f"its model cannot be read: {error}") from None
        if nan is not None:
            raise ForeignCheckpointError(f"its model has NaN in tensor {clip(nan)}")
        return cls(server_round, tensors, _unpack(state, members), header["made_by"])


def tensor_with_nan(tensors: Mapping[str, bytes]) -> str | None:
    """The name of the first tensor that holds a NaN; None if there is none."""
    for name, data in tensors.items():
        array = decode(data)
        if array.dtype.kind == "f" and np.isnan(array).any():
            return name
    return None


def _digest(header: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, data in members.items():
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


def _pack(value: Any, arrays: list[bytes], at: str = "", inside: tuple[int, ...] = ()) -> Any:
    """The JSON of a state. Arrays go to the list, and their number in the list stands in their place."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        buffer = BytesIO()
        np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
        arrays.append(buffer.getvalue())
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) not in inside:
        within = (*inside, id(value))
        if isinstance(value, list | tuple):
            items = [_pack(v, arrays, f"{at}[{i}]", within) for i, v in enumerate(value)]
            return {"list": items}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            named = {k: _pack(v, arrays, f"{at}[{k!r}]", within) for k, v in value.items()}
            return {"dict": named}
    raise StateError(
        "The state of a strategy should hold arrays, numbers, text, lists, and dictionaries with text keys, "
        f"and nothing inside itself. Found {clip(repr(value))} at `state{clip(at)}`. Convert it "
        "in `state_dict`."
    )


def _unpack(value: Any, members: Mapping[str, bytes]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, item),) = value.items()
    if kind in ("array", "scalar"):
        data = BytesIO(members[f"state/{item}.npy"])
        array = np.lib.format.read_array(data, allow_pickle=False)
        return array if kind == "array" else array[()]
    if kind == "list":
        return [_unpack(entry, members) for entry in item]
    return {key: _unpack(entry, members) for key, entry in item.items()}
