"""Checkpoints: a model, the round it belongs to and a strategy's state, in one file of numpy arrays."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from logging import WARNING
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from flwr.common.logger import log

from flwr_byzantine.aggregation.npy import clip

FORMAT = "flwr-byzantine checkpoint"
VERSION = 1
_HEADER = "header.json"


class CheckpointError(ValueError):
    """A file that is no checkpoint this library reads; its text is the reason."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on after a round.

    Parameters
    ----------
    server_round : int
        The last round that is done.
    tensors : Mapping[str, bytes]
        The global model after it: name -> .npy file in bytes, in order.
    state : Mapping[str, Any]
        What else later rounds depend on: arrays, numbers, text, True, False and None, in dictionaries
        with text for keys and in lists.
    """

    server_round: int
    tensors: Mapping[str, bytes]
    state: Mapping[str, Any] = field(default_factory=dict)

    def write(self, file: BinaryIO) -> None:
        """Write as a zip file of .npy files, which ``numpy.load`` opens, and a header with a checksum.

        Raises
        ------
        TypeError
            If the state holds anything else than it may.
        """
        arrays: list[bytes] = []
        header = {
            "format": FORMAT,
            "version": VERSION,
            "round": self.server_round,
            "names": list(self.tensors),
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
        """Read what :meth:`write` wrote; CheckpointError if it is anything else, or damaged."""
        try:
            with zipfile.ZipFile(file) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            header = json.loads(members.pop(_HEADER))
            digest, kind, version = header.pop("sha256"), header["format"], header["version"]
        except (
            Exception
        ) as error:  # zipfile and json raise many kinds for bytes that are not theirs
            raise CheckpointError(f"torn, or no checkpoint ({type(error).__name__})") from None
        if kind != FORMAT or version != VERSION:
            raise CheckpointError(f"{clip(kind)} of version {clip(version)}, expected {VERSION}")
        if _digest(header, members) != digest:
            raise CheckpointError("damaged: the checksum does not match")
        tensors = {name: members[f"model/{i}.npy"] for i, name in enumerate(header["names"])}
        return cls(header["round"], tensors, _unpack(header["state"], members))


class Checkpoints:
    """The checkpoint of a run, and the one before it.

    Parameters
    ----------
    path : str or Path
        The file to keep; the previous one is beside it, with ``.previous`` added to its name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.previous = self.path.with_name(self.path.name + ".previous")
        self._checked = False
        self._keep = False
        if not self.path.parent.is_dir():
            raise ValueError(
                "Parameter `checkpoint` should be a file in a folder that is there. "
                f"Found `checkpoint = {str(path)!r}`. Create the folder first."
            )

    def load(self) -> Checkpoint | None:
        """Give the newest checkpoint that is whole; None where there is none to read yet.

        Raises
        ------
        CheckpointError
            If there are files, and no one of them is a whole checkpoint.
        """
        self._checked = self._keep = False
        refused = []
        for path in (self.path, self.previous):
            try:
                with path.open("rb") as file:
                    found = Checkpoint.read(file)
            except FileNotFoundError:
                continue
            except CheckpointError as error:
                log(WARNING, "Refused checkpoint %s: %s", path, error)
                refused.append(f"{path}: {error}")
                continue
            self._checked, self._keep = True, path == self.path
            return found
        if refused:
            raise CheckpointError(
                "Parameter `checkpoint` should be a file this library wrote, or none yet. Found "
                f"{'; '.join(refused)}. Restore the file, or move it away to start from round 1."
            )
        self._checked = True
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; whenever the process dies, this one or the last one is whole.

        Raises
        ------
        CheckpointError
            If a file of somebody else's is in the way.
        """
        if not self._checked:
            self.load()
        partial = self.path.with_name(self.path.name + ".partial")
        with partial.open("wb") as file:
            checkpoint.write(file)
            file.flush()
            os.fsync(file.fileno())
        if self._keep:  # never a torn file over the good one
            os.replace(self.path, self.previous)
        os.replace(partial, self.path)
        self._keep = True
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _digest(header: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, data in members.items():
        digest.update(f"{name} {len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


def _pack(value: Any, arrays: list[bytes]) -> Any:
    """JSON for a state; its arrays go to the list and leave their number."""
    if isinstance(value, np.ndarray | np.generic):
        buffer = BytesIO()
        np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
        arrays.append(buffer.getvalue())
        return {"array" if isinstance(value, np.ndarray) else "scalar": len(arrays) - 1}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, arrays) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [_pack(item, arrays) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        "The state of a strategy should hold arrays, numbers, text, lists and dictionaries with text "
        f"for keys. Found {value!r}. Convert it in `state_dict`."
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
