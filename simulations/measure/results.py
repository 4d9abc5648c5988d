"""Results of runs as files: valid JSON, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from flwr.common import NDArrays

from flwr_byzantine.lab.results import finite

Record = dict[str, Any]


def hash_arrays(arrays: NDArrays) -> str:
    """Return the SHA-256 of arrays: their dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save(result: Record, folder: Path) -> Path:
    """Write ``result.json`` into a folder, all of it or nothing."""
    return write(result, folder / "result.json", indent=2)


def write(record: Record, path: Path, indent: int | None = None) -> Path:
    """Write a record as JSON, all of it or nothing."""
    text = json.dumps(finite(record), indent=indent, allow_nan=False) + "\n"
    return replace_file(path, text.encode())


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file, all of it or nothing; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
