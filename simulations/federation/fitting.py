"""Checks of a run that need its data."""

from __future__ import annotations

from dataclasses import replace

from flwr_byzantine.attacks import Backdoor, LabelFlip, RandomLabels
from flwr_byzantine.attacks.base import require
from simulations.catalog import datasets
from simulations.catalog.attacks import plan_attack
from simulations.catalog.networks import check_network
from simulations.config import RunConfig

Relabelling = LabelFlip | RandomLabels


def check_fits(config: RunConfig) -> None:
    """Load the data of a run, and check that its partition, its network and its attack can use them.

    Raises
    ------
    ValueError
        If one of them cannot. No client has trained then.
    """
    config.shares()
    check_network(config.model, config.dataset, config.data_dir)
    if config.attack == "none":
        return
    attack = plan_attack(config.attack, config.attack_args).attack
    if isinstance(attack, Relabelling):
        of_the_data(attack, config)
    if isinstance(attack, Backdoor):
        classes = datasets.class_count(config.dataset, config.data_dir)
        expected = f"less than {classes}, the number of classes of `{config.dataset}`"
        require(attack.target < classes, "target", expected, attack.target, "Count from 0.")
        attack.triggered(datasets.load(config.dataset, config.data_dir)[0].x[:1])


def of_the_data(attack: Relabelling, config: RunConfig) -> Relabelling:
    """Return an attack on labels with the number of classes of the data, unless the run tells it one.

    Raises
    ------
    ValueError
        If the run tells it another number of classes than the data have.
    """
    listed = datasets.DATASETS.get(config.dataset)
    if listed and listed.classes == attack.num_classes:
        return attack
    classes = datasets.class_count(config.dataset, config.data_dir)
    if "num_classes" not in config.attack_args:
        return replace(attack, num_classes=classes)
    expected = f"{classes}, the number of classes of `{config.dataset}`"
    right = attack.num_classes == classes or bool(listed and listed.classes)
    require(right, "num_classes", expected, attack.num_classes, "Leave it out.")
    return attack
