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


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` for a folder that holds a result already, unless it may be replaced."""
    if (folder / RESULT).exists() and not overwrite:
        raise FileExistsError(
            f"There is already a result in {folder}. Give another folder as `out`, or replace it with "
            "`--overwrite` (in `--run-config`: `overwrite=true`)."
        )


def save(result: Record, folder: Path) -> Path:
    """Write ``result.json`` into a folder, completely or not at all."""
    return write(result, folder / RESULT, indent=2)
