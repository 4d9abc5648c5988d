"""What a run leaves behind: one record a round, and a result that is valid JSON."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from flwr.common import NDArrays

from clients.torch_client import dump_arrays, evaluate, load_arrays
from simulations import tasks
from simulations.config import RunConfig
from simulations.models import initial_model

Record = dict[str, Any]
OnRound = Callable[[Record], None]

PACKAGES = ("flwr-byzantine", "flwr", "ray", "torch", "numpy", "numba")


def hash_arrays(arrays: NDArrays) -> str:
    """Return the SHA-256 of arrays: their dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Recorder:
    """Evaluate the global model centrally after each round and keep what the strategy reports.

    Parameters
    ----------
    config : RunConfig
        The run.
    on_round : callable, optional
        Called with the record of each round.
    """

    def __init__(self, config: RunConfig, on_round: OnRound | None = None) -> None:
        self.config = config
        self.on_round = on_round
        self.rounds: list[Record] = []
        dataset = tasks.DATASETS[config.dataset]
        self.test = tasks.load(config.dataset, config.data_dir)[1]
        self.model = initial_model(config.model, dataset.shape, dataset.classes, config.seed)
        self._metrics: Record = {}
        self._since = time.perf_counter()

    def aggregated(self, metrics: Mapping[str, Any] | None, seconds: float, failed: int) -> None:
        """Keep what the strategy says of the round that it has just aggregated."""
        names = {"loss": "train_loss"}  # the clients' own, apart from that on the test set
        told = {names.get(k, k): v for k, v in (metrics or {}).items() if k != "partition-id"}
        self._metrics = told | {"num_failed": failed, "aggregate_seconds": seconds}

    def evaluate(self, server_round: int, arrays: NDArrays) -> tuple[float, float] | None:
        """Return loss and accuracy of the global model on the test set, where they are due."""
        seconds = time.perf_counter() - self._since
        last = server_round == self.config.rounds
        result = None
        if last or server_round % self.config.eval_every == 0:
            load_arrays(self.model, arrays)
            result = evaluate(self.model, self.test.x, self.test.y)
        if server_round:
            loss, accuracy = result or (None, None)
            record = {"round": server_round, "accuracy": accuracy, "loss": loss, "seconds": seconds}
            self.rounds.append(record | self._metrics)
            if self.on_round is not None:
                self.on_round(self.rounds[-1])
        self._since = time.perf_counter()
        return result

    def result(self) -> Record:
        """Return the result of the finished run."""
        usual = [record["seconds"] for record in self.rounds[1:] or self.rounds]
        return {
            "config": self.config.model_dump(),
            "rounds": self.rounds,
            "final_accuracy": self.rounds[-1]["accuracy"],
            "final_loss": self.rounds[-1]["loss"],
            "seconds_per_round": statistics.median(usual),
            "parameters_sha256": hash_arrays(dump_arrays(self.model)),
            "versions": {"python": sys.version.split()[0]} | {p: version(p) for p in PACKAGES},
        }


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


def initial_state(config: RunConfig) -> dict[str, torch.Tensor]:
    """Return the parameters every run of this seed and model starts from."""
    dataset = tasks.DATASETS[config.dataset]
    model = initial_model(config.model, dataset.shape, dataset.classes, config.seed)
    return model.state_dict()
