"""Results of runs as files: valid JSON, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.common import NDArrays

Record = dict[str, Any]


def hash_arrays(arrays: NDArrays) -> str:
    """Return the SHA-256 of arrays: their dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def finite(value: Any) -> Any:
    """Return a copy in which NaN and infinities are None, as JSON knows neither."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def save(result: Record, folder: Path) -> Path:
    """Write ``result.json`` into a folder, all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    partial = folder / f".result.json.{os.getpid()}"
    partial.write_text(json.dumps(finite(result), indent=2, allow_nan=False) + "\n")
    partial.replace(path)
    return path
