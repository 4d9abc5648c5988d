"""The strategy of a run, in both of Flower's server APIs."""

from __future__ import annotations

from typing import Any

from flwr_byzantine import serverapp
from flwr_byzantine.reputation.schedules import PowerDecay
from flwr_byzantine.strategies import fit_strategies
from flwr_byzantine.strategies.words import FIT_WORDS, MESSAGE_WORDS
from simulations.catalog.auxiliary import STRATEGIES as AUXILIARY
from simulations.catalog.baseline import benign_mean
from simulations.catalog.compositions import Chosen, choose
from simulations.catalog.rules import RULES
from simulations.config import RunConfig
from simulations.federation.fedavg import OrderedFedAvg, OrderedLegacyFedAvg
from simulations.federation.reputation import auxiliary_arguments

STRATEGIES = {"legacy": fit_strategies, "message": serverapp}
FEDAVG = {"legacy": OrderedLegacyFedAvg, "message": OrderedFedAvg}

# The names of the rules' parameters in each API.
WORDS = {"legacy": FIT_WORDS, "message": MESSAGE_WORDS}


def build_strategy(config: RunConfig, **arguments: Any) -> Any:
    """Build the strategy of a run, for the API of the run.

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
    asked = config.clients_per_round or config.clients
    fit = "fit_clients" if legacy else "train_nodes"
    arguments = {
        "fraction_evaluate": 0.0,
        f"min_{fit}": asked,
        "min_available_" + fit.split("_")[1]: asked,
    } | arguments
    chosen = choose(config.rule, config.rule_args, config.assumed_byzantine, config.seed)
    spec = RULES[chosen.rule]
    if spec is None:
        return FEDAVG[config.api](**arguments)
    own = rule_arguments(config, chosen)
    if spec.tolerance:
        own[spec.tolerance] = config.assumed_byzantine
    words = WORDS[config.api]
    arguments |= {words.get(name, name): value for name, value in own.items()}
    arguments |= {"payload": config.payload, "order_by": "partition-id"}
    if chosen.before is not None:
        arguments["pre_aggregation"] = chosen.before
    if config.payload == "gradients":
        arguments.setdefault("learning_rate", server_step_size(config))
    return getattr(STRATEGIES[config.api], spec.name)(**arguments)


def server_step_size(config: RunConfig) -> float | PowerDecay:
    """Return the step size of a server that gets gradients."""
    if not config.learning_rate_decay:
        return config.learning_rate
    return PowerDecay(config.learning_rate, power=1.0, offset=config.learning_rate_decay)


def rule_arguments(config: RunConfig, chosen: Chosen) -> dict[str, Any]:
    """Return the arguments for the strategy of a run, besides those that every strategy gets."""
    if config.rule == "baseline":
        who = config.clients, config.byzantine, config.seed, config.placement, config.redraw
        return {"rule": benign_mean(*who)}
    if config.rule in AUXILIARY:
        return auxiliary_arguments(config)
    return chosen.rule_args
