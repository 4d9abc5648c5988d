"""The records of a run while it goes on: one for each round."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from flwr.common import NDArrays

from flwr_byzantine.attacks import Backdoor
from flwr_byzantine.kernels.compiled import choice
from flwr_byzantine.lab.kept import Record
from simulations.catalog import datasets
from simulations.catalog.attacks import plan_attack
from simulations.catalog.networks import initial_network
from simulations.config import RunConfig
from simulations.measure.alignment import Alignment
from simulations.measure.detection import detection
from simulations.measure.fairness import client_accuracies, worst_client
from simulations.measure.provenance import provenance
from simulations.measure.results import hash_arrays
from simulations.streams import Stream, generator
from simulations.torch_model import classes, dump_arrays, evaluate, load_arrays

OnRound = Callable[[Record], None]

SUCCESS = "attack_success_rate"
PACKAGES = ("flwr-byzantine", "flwr", "ray", "torch", "numpy")


class Recorder:
    """Evaluate the global model centrally after each round and keep what the strategy reports.

    Parameters
    ----------
    config : RunConfig
        The run.
    on_round : callable, optional
        It is called with the record of each round.
    """

    def __init__(self, config: RunConfig, on_round: OnRound | None = None) -> None:
        self.config = config
        self.on_round = on_round
        self.rounds: list[Record] = []
        self.samples = _samples(config)
        self.model = initial_network(config.model, config.dataset, config.data_dir, config.seed)
        self.backdoor = planned_backdoor(config)
        self.alignment = Alignment(config) if config.gradient_samples else None
        self.by_class: list[float | None] = []  # at the last evaluation
        self._before: NDArrays = []
        self._metrics: Record = {}
        self._since = time.perf_counter()
        self._provenance = provenance()

    def aggregated(self, metrics: Mapping[str, Any] | None, seconds: float, failed: int) -> None:
        """Keep what the strategy says about the round that it has just aggregated."""
        names = {"loss": "train_loss"}  # this is the clients' loss, and not that of `evaluate`
        own = {names.get(k, k): v for k, v in (metrics or {}).items() if k != "partition-id"}
        self._metrics = own | {"num_failed": failed, "aggregate_seconds": seconds}

    def evaluate(self, server_round: int, arrays: NDArrays) -> tuple[float, float] | None:
        """Return loss and accuracy of the global model on the samples, if an evaluation is due."""
        seconds = time.perf_counter() - self._since
        last = server_round == self.config.rounds
        found: Record = {"accuracy": None, "loss": None}
        if last or server_round % self.config.eval_every == 0:
            load_arrays(self.model, arrays)
            found = evaluate(self.model, self.samples.x, self.samples.y)._asdict()
            self.by_class = found.pop("by_class")
            if self.backdoor is not None:
                predict = partial(classes, self.model)
                found[SUCCESS] = self.backdoor.success_rate(predict, self.samples.x, self.samples.y)
            if self.alignment is not None and server_round:
                found |= self.alignment.measure(self._before, arrays)
        self._before = arrays
        if server_round:
            record = {"round": server_round, "seconds": seconds} | found
            self.rounds.append(record | self._metrics)
            if self.on_round is not None:
                self.on_round(self.rounds[-1])
        self._since = time.perf_counter()
        return None if found["accuracy"] is None else (found["loss"], found["accuracy"])

    def result(self) -> Record:
        """Return the result of the finished run."""
        own = client_accuracies(self.config, self.by_class)
        usual = [record["seconds"] for record in self.rounds[1:] or self.rounds]
        return {
            "config": self.config.model_dump(),
            "rounds": self.rounds,
            "final_accuracy": self.rounds[-1]["accuracy"],
            "final_top3": self.rounds[-1]["top3"],
            "final_loss": self.rounds[-1]["loss"],
            **({f"final_{SUCCESS}": self.rounds[-1][SUCCESS]} if self.backdoor else {}),
            "client_accuracies": own,
            "final_worst_client": worst_client(self.config, own),
            "detection": detection(self.config, self.rounds),
            "seconds_per_round": statistics.median(usual),
            "parameters_sha256": hash_arrays(dump_arrays(self.model)),
            "versions": {"python": sys.version.split()[0]} | {p: installed(p) for p in PACKAGES},
            "kernels": choice().name,
            "provenance": self._provenance,
            "seconds": sum(record["seconds"] for record in self.rounds),
        }


def planned_backdoor(config: RunConfig) -> Backdoor | None:
    """Return the backdoor that the attackers of a run want in the model, if they do."""
    if config.attack == "none":
        return None
    attack = plan_attack(config.attack, config.attack_args).attack
    return attack if isinstance(attack, Backdoor) else None


def installed(package: str) -> str | None:
    """Return the version of a package; None if it is missing, such as Ray on a server."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def initial_state(config: RunConfig) -> dict[str, torch.Tensor]:
    """Return the parameters every run of this seed and model starts from."""
    return initial_network(config.model, config.dataset, config.data_dir, config.seed).state_dict()


def _samples(config: RunConfig) -> datasets.Split:
    """Return the samples on which the model is evaluated: all or some, the same in every run."""
    train, test = datasets.load(config.dataset, config.data_dir)
    samples = train if config.evaluate_on == "train" else test
    if not config.test_samples:
        return samples
    order = generator(Stream.SAMPLES).permutation(len(samples.y))[: config.test_samples]
    return datasets.Split(samples.x[order], samples.y[order])
