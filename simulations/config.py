"""The description of one run, which the command line, the app and the experiments validate."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import ceil
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flwr_byzantine.lab.names import STEPS
from simulations.catalog import datasets, own
from simulations.catalog.attacks import ATTACK_NAMES, check_attack, check_momentum
from simulations.catalog.auxiliary import AUXILIARY_SIZE, STRATEGIES, check_auxiliary
from simulations.catalog.baseline import check_baseline
from simulations.catalog.compositions import check_rule
from simulations.catalog.dealing import PARTITIONERS, PARTITIONS, Partition, check_partition
from simulations.catalog.models import MODELS
from simulations.catalog.placement import Participation
from simulations.catalog.rules import RULES

CHOICES = {"attack": ATTACK_NAMES, "dataset": datasets.DATASETS, "model": MODELS}

Arguments = dict[str, bool | int | float | str]


def parse_arguments(text: str) -> Arguments:
    """Read arguments such as ``"epsilon=0.5 exact=true"``, with spaces or commas between them.

    Examples
    --------
    >>> parse_arguments("epsilon=0.5, mode=exact")
    {'epsilon': 0.5, 'mode': 'exact'}
    """
    arguments: Arguments = {}
    for item in re.split(r"[,\s]+", text.strip()):
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"Arguments should read `name=value name=value`. Found `{text}`.")
        try:
            arguments[name.replace("-", "_")] = json.loads(value)
        except json.JSONDecodeError:
            arguments[name.replace("-", "_")] = value
    return arguments


CLIENTS = 20  # if a run does not say how many


def _share(data: Mapping[str, Any]) -> int:
    """The number of Byzantine clients in an average round, rounded up."""
    asked, all_of_them = data.get("clients_per_round"), data.get("clients", CLIENTS)
    byzantine: int = data.get("byzantine", 0)
    try:
        return ceil(byzantine * asked / all_of_them) if asked and all_of_them else byzantine
    except TypeError:  # pydantic says what is wrong
        return 0


class RunConfig(BaseModel):
    """Everything that decides the result of a run; equal configurations give equal models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: str = Field(
        "phocas",
        description="How the server aggregates: "
        + ", ".join(RULES)
        + ". Pre-aggregations may stand in front, as in nnm+phocas: "
        + ", ".join(STEPS)
        + ".",
    )
    rule_args: Arguments = Field({}, description="Further arguments of the rule, `name=value ...`.")
    attack: str = Field(
        "none", description="What the Byzantine clients do: " + ", ".join(ATTACK_NAMES) + "."
    )
    attack_args: Arguments = Field({}, description="Arguments of the attack, `name=value ...`.")
    attack_start: int = Field(1, ge=1, description="The first round under attack.")
    clients: int = Field(CLIENTS, ge=1, description="Clients of the federation.")
    clients_per_round: int = Field(
        0, ge=0, description="How many clients each round asks, drawn by the seed. 0: all."
    )
    stragglers: int = Field(
        0, ge=0, description="How many honest clients never answer. They are the last ones."
    )
    byzantine: int = Field(0, ge=0, description="How many clients are Byzantine.")
    assumed_byzantine: int = Field(
        0,
        ge=0,
        description="The number of Byzantine clients that the rule is told (f). [default: the true number; "
        "if a round asks only some clients, the average number among these, rounded up]",
    )
    rounds: int = Field(50, ge=1, description="Rounds of training.")
    dataset: str = Field(
        "digits",
        description="The data: "
        + ", ".join(datasets.DATASETS)
        + f"; or your own, by import path, as in {own.EXAMPLES['dataset']}.",
    )
    data_dir: str = Field("data", description="The folder for datasets that are downloaded.")
    download: bool = Field(False, description="Download the dataset if it is not there.")
    model: str = Field(
        "",
        description="The network: "
        + ", ".join(MODELS)
        + f"; or your own, by import path, as in {own.EXAMPLES['model']}. [default: that of the dataset]",
    )
    batch_size: int = Field(32, ge=1, description="Samples per minibatch.")
    learning_rate: float = Field(
        0.1, gt=0, description="Step size of clients, or of the server if clients send gradients."
    )
    learning_rate_decay: int = Field(
        0,
        ge=0,
        description="For gradients: rounds after which the server's step size is half. 0: it stays the same. "
        "ByGARS has an argument of its own for this, gamma_offset.",
    )
    local_steps: int = Field(
        1, ge=1, description="Minibatches per client and round. [default: 5; 1 for gradients]"
    )
    momentum: float = Field(
        0.0, ge=0, lt=1, description="Worker momentum: the weight of the past in what clients send."
    )
    weight_decay: float = Field(
        0.0, ge=0, description="The parameters times this number are added to each gradient."
    )
    local_epochs: int | None = Field(
        None, ge=1, description="Passes over a client's data per round, instead of local steps."
    )
    payload: Literal["parameters", "gradients"] = Field(
        "parameters", description="What clients send: parameters or gradients."
    )
    api: Literal["message", "legacy"] = Field(
        "message",
        description="The server's API: message (aggregate_train) or legacy (aggregate_fit).",
    )
    seed: int = Field(0, ge=0, description="The same seed gives the same model, bit for bit.")
    auxiliary: int = Field(
        0,
        ge=0,
        description="How many training samples the server has. The clients do not get them. "
        f"[default: 250 for {', '.join(STRATEGIES)}]",
    )
    partition: str = Field(
        "iid",
        description="Who gets which data: "
        + ", ".join(PARTITIONS)
        + f"; or two of {', '.join(PARTITIONERS)} mixed, as in iid+dirichlet.",
    )
    partition_among: Literal["all", "honest"] = Field(
        "all",
        description="Who shares the data: all clients, or only the honest ones. Then each Byzantine client "
        "draws samples of its own from the data that the honest ones share.",
    )
    alpha: float = Field(
        1.0, gt=0, description="Concentration of the partitions dirichlet and quantity."
    )
    gamma: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the data that the first of two partitions deals out. The partition gamma mixes "
        "iid and sorted, so 0 sorts all data.",
    )
    classes_per_client: int = Field(
        2, ge=1, description="How many classes each client has in the partition classes."
    )
    placement: Literal["first", "drawn"] = Field(
        "first", description="Which clients are Byzantine: the first ones, or drawn by the seed."
    )
    redraw: bool = Field(False, description="Draw the Byzantine clients anew in every round.")
    eval_every: int = Field(1, ge=1, description="Rounds from one evaluation to the next.")
    evaluate_on: Literal["test", "train"] = Field(
        "test", description="Whether to evaluate on the test samples or on the training samples."
    )
    test_samples: int = Field(0, ge=0, description="How many samples to evaluate on. 0: all.")
    gradient_samples: int = Field(
        0,
        ge=0,
        description="How many training samples give the true gradient. Each evaluation compares the model's "
        "step with it. 0: no comparison.",
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Validate options as people write them: ``kebab-case`` names, ``""`` for "not set"."""
        return cls(**{k.replace("-", "_"): v for k, v in options.items() if v not in ("", None)})

    def shares(self) -> list[np.ndarray]:
        """Return the positions of every client's training samples.

        Raises
        ------
        ValueError
            If the data cannot be dealt out as the run says.
        """
        apart: frozenset[int] = frozenset()
        if self.partition_among == "honest":
            apart = self.who.byzantine_in()
        data = self.dataset, self.data_dir
        dealt = self.dealing, self.clients, self.seed, self.auxiliary
        return datasets.partition(*data, *dealt, apart)

    @property
    def who(self) -> Participation:
        """Who is Byzantine, who is asked and who answers, in each round."""
        return Participation(
            n=self.clients,
            f=self.byzantine,
            seed=self.seed,
            placement=self.placement,
            redraw=self.redraw,
            per_round=self.clients_per_round,
            stragglers=self.stragglers,
        )

    def __hash__(self) -> int:
        """Return the same for equal configurations; dicts have no hash of their own."""
        return hash(self.model_dump_json())

    @field_validator("rule", "attack", mode="before")
    @classmethod
    def _underscores(cls, value: object) -> object:
        return value.replace("-", "_") if isinstance(value, str) else value

    @property
    def dealing(self) -> Partition:
        """How the data are dealt out."""
        return Partition(self.partition, self.alpha, self.gamma, self.classes_per_client)

    @field_validator("rule_args", "attack_args", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        return parse_arguments(value) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: dict[str, Any]) -> dict[str, Any]:
        dataset = datasets.described(data.get("dataset", "digits"))
        single = data.get("payload") == "gradients" or data.get("local_epochs")
        defaults = {
            "local_steps": 1 if single else 5,
            "assumed_byzantine": _share(data),
            "auxiliary": AUXILIARY_SIZE if data.get("rule") in STRATEGIES else 0,
            "model": dataset.default_model if dataset else "",
        }
        return defaults | data

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, table in CHOICES.items():
            own.require_known(name, getattr(self, name), table)
        if self.byzantine > self.clients:
            raise ValueError(
                f"Parameter `byzantine` should be at most `clients`, which is {self.clients}. "
                f"Found `byzantine = {self.byzantine}`."
            )
        self.who.check()
        if self.who.partly and self.rule == "baseline":
            raise ValueError(
                "Parameters `clients_per_round` and `stragglers` should be 0 for the rule `baseline`, which "
                f"averages all benign clients. Found {self.clients_per_round} and {self.stragglers}."
            )
        if self.payload == "gradients" and (self.local_steps > 1 or self.local_epochs):
            raise ValueError(
                "Parameter `payload` should be `parameters` when clients take several steps: "
                "a gradient is that of one minibatch. Found `payload = gradients` with "
                f"`local_steps = {self.local_steps}` and `local_epochs = {self.local_epochs}`."
            )
        if self.attack != "none" and self.attack_start > self.rounds:
            raise ValueError(
                f"Parameter `attack_start` should be at most `rounds`, which is {self.rounds}. Found "
                f"`attack_start = {self.attack_start}`, so nobody would ever attack."
            )
        if self.learning_rate_decay and self.payload != "gradients":
            raise ValueError(
                "Parameter `learning_rate_decay` should be 0 if clients send parameters: they take the "
                f"steps, not the server. Found `learning_rate_decay = {self.learning_rate_decay}`."
            )
        classes = (datasets.described(self.dataset) or datasets.DATASETS[self.dataset]).classes
        dealt = self.dealing, self.partition_among, classes, self.clients, self.byzantine
        check_partition(*dealt, self.redraw)
        check_rule(
            self.rule, self.rule_args, self.who.answers, self.assumed_byzantine, self.payload
        )
        check_attack(self.attack, self.attack_args, self.clients, self.byzantine, self.redraw)
        if self.momentum:
            changing = self.redraw or self.who.partly
            check_momentum(
                self.momentum, self.attack, self.attack_args, self.attack_start, changing
            )
        if self.rule == "baseline":
            check_baseline(self.rule_args, self.clients, self.byzantine, self.redraw)
        if self.rule in STRATEGIES:
            settings = self.rule, self.rule_args, self.learning_rate, self.local_steps
            check_auxiliary(*settings, self.payload, self.auxiliary)
        return self
