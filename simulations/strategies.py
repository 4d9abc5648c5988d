"""Which strategy a rule's name stands for, in both of Flower's server APIs.

The strategies are imported where they are used: clients read configurations too, and have no need
of the compiled loops.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from simulations.config import RunConfig


class RuleSpec(NamedTuple):
    """A rule's class, under the same name among rules and strategies, and its parameter f or b.

    A special one is no rule of its updates alone: the module named has what its strategy is told,
    ``arguments(config)``, and ``check(config)``.
    """

    name: str
    tolerance: str | None
    special: str | None = None


RULES: dict[str, RuleSpec | None] = {
    "fedavg": None,  # Flower's own
    "mean": RuleSpec("Mean", None),
    "median": RuleSpec("Median", None),
    "trimmed_mean": RuleSpec("TrimmedMean", "trim"),
    "phocas": RuleSpec("Phocas", "trim"),
    "krum": RuleSpec("Krum", "num_byzantine"),
    "multi_krum": RuleSpec("MultiKrum", "num_byzantine"),
    "bulyan": RuleSpec("Bulyan", "num_byzantine"),
    "multi_bulyan": RuleSpec("MultiBulyan", "num_byzantine"),
    "bygars": RuleSpec("ByGARS", None, "simulations.reputation"),
    "bygars++": RuleSpec("ByGARSPlusPlus", None, "simulations.reputation"),
    "baseline": RuleSpec("RobustFedAvg", None, "simulations.baseline"),  # benign clients only
}
AUXILIARY_SIZE = 250  # samples, as in the paper of ByGARS

STRATEGIES = {
    "legacy": "flwr_byzantine.strategies.fit_strategies",
    "message": "flwr_byzantine.serverapp",
}
FEDAVG = {"legacy": "OrderedLegacyFedAvg", "message": "OrderedFedAvg"}

# The rules' parameters in the words of each API.
WORDS = {
    "legacy": {
        "trim": "num_malicious_clients",
        "num_byzantine": "num_malicious_clients",
        "num_selected": "num_clients_to_keep",
    },
    "message": {
        "trim": "num_malicious_nodes",
        "num_byzantine": "num_malicious_nodes",
        "num_selected": "num_nodes_to_select",
    },
}


def check_rule(
    name: str, rule_args: Mapping[str, Any], clients: int, assumed: int, payload: str
) -> None:
    """Raise ValueError unless the rule can work with that many clients."""
    spec = RULES[name]
    if spec is None:
        if payload == "gradients" or rule_args:
            raise ValueError(
                "Parameter `rule` should be `mean` rather than Flower's own `fedavg` for clients "
                f"that send gradients; and `fedavg` takes no arguments. Found `payload = {payload}`"
                f" and `rule_args = {dict(rule_args)}`."
            )
        return
    if spec.special:
        return
    told = {spec.tolerance: assumed} if spec.tolerance else {}
    try:
        rule = getattr(import_module("flwr_byzantine.rules"), spec.name)(**told, **rule_args)
    except TypeError as error:
        raise ValueError(
            f"Parameter `rule_args` should hold arguments of {spec.name}. "
            f"Found `rule_args = {dict(rule_args)}`: {error}."
        ) from error
    if clients < rule.min_updates:
        raise ValueError(
            f"Parameter `clients` should be at least {rule.min_updates} for {name} with "
            f"`assumed_byzantine = {assumed}`. Found `clients = {clients}`: take more clients, "
            "or assume fewer of them Byzantine."
        )


def check_special(config: RunConfig) -> None:
    """Raise ValueError where a run's strategy, of more than its updates, cannot be built."""
    spec = RULES[config.rule]
    if spec is not None and spec.special:
        import_module(spec.special).check(config)


def build_strategy(config: RunConfig, **arguments: Any) -> Any:
    """Build the strategy of a run for the API it asks for.

    Parameters
    ----------
    config : RunConfig
        The run.
    **arguments
        Further arguments of that API's FedAvg.

    Returns
    -------
    flwr.server.strategy.Strategy or flwr.serverapp.strategy.Strategy
    """
    legacy = config.api == "legacy"
    fit = "fit_clients" if legacy else "train_nodes"
    arguments = {
        "fraction_evaluate": 0.0,
        f"min_{fit}": config.clients,
        "min_available_" + fit.split("_")[1]: config.clients,
    } | arguments
    spec = RULES[config.rule]
    if spec is None:
        return getattr(import_module("simulations.fedavg"), FEDAVG[config.api])(**arguments)
    told = dict(config.rule_args)
    if spec.special:
        told = import_module(spec.special).arguments(config)
    if spec.tolerance:
        told[spec.tolerance] = config.assumed_byzantine
    words = WORDS[config.api]
    arguments |= {words.get(name, name): value for name, value in told.items()}
    arguments |= {"payload": config.payload, "order_by": "partition-id"}
    if config.payload == "gradients":
        arguments.setdefault("learning_rate", config.learning_rate)
    return getattr(import_module(STRATEGIES[config.api]), spec.name)(**arguments)
