"""Results of runs: their file, and a digest of their models."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flwr.common import NDArrays

from flwr_byzantine.lab.kept import Record, write

RESULT = "result.json"  # the file of a run's result in its folder


def hash_arrays(arrays: NDArrays) -> str:
    """Return the SHA-256 of arrays: their dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save(result: Record, folder: Path) -> Path:
    """Write ``result.json`` into a folder, all of it or nothing."""
    return write(result, folder / RESULT, indent=2)
