"""Rules with pre-aggregations in front, by name: `nnm+phocas`, `bucketing+nnm+krum`."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import fields
from functools import reduce
from typing import Any, NamedTuple

from flwr_byzantine import rules
from flwr_byzantine.checks import did_you_mean
from flwr_byzantine.lab.names import STEPS, f_of, parts_of
from simulations.catalog.rules import RULES
from simulations.streams import Stream, generator


class Chosen(NamedTuple):
    """The parts of a run's `rule` and `rule_args`.

    ``before`` is None without a pre-aggregation. ``rule_args`` are the arguments of the rule itself.
    """

    before: Any
    rule: str
    rule_args: dict[str, Any]


def choose(name: str, rule_args: Mapping[str, Any], assumed: int, seed: int = 0) -> Chosen:
    """Split the rule of a configuration, such as `bucketing+nnm+krum`, into its parts.

    Parameters
    ----------
    name : str
        Any number of pre-aggregations and a rule, joined by `+`.
    rule_args : Mapping[str, Any]
        Arguments of the parts. Each goes to every part that has a parameter of that name.
        `clipping.threshold` goes to that part only.
    assumed : int
        f, for the parts that have it as a parameter.
    seed : int
        The seed of the run, for parts with random choices.

    Raises
    ------
    ValueError
        If a part is not known, or an argument is wrong.
    """
    before, last = parts_of(name)
    check_names(name, before, last)
    spec = RULES[last]
    if not before or spec is None:
        return Chosen(None, last, dict(rule_args))
    shares: dict[str, dict[str, Any]] = {part: {} for part in (*before, last)}
    kinds = {part: STEPS[part] for part in before} | {last: getattr(rules, spec.name)}
    for key, value in rule_args.items():
        to, _, argument = key.rpartition(".")
        takers = [part for part in shares if to in ("", part) and _takes(kinds[part], argument)]
        if not takers:
            known = [field.name for kind in kinds.values() for field in fields(kind) if field.init]
            text = (
                f"Parameter `rule_args` should hold arguments of {', '.join(shares)}. "
                f"Found `{key}`, which none of them has. {did_you_mean(argument, known)}"
            )
            raise ValueError(text.rstrip())
        for part in takers:
            shares[part][argument] = value
    steps = []
    for i, part in enumerate(before):
        fixed = _of_run(STEPS[part], assumed, seed, i, shares[part])
        steps.append(make(STEPS[part], fixed, shares[part]))
    return Chosen(reduce(operator.rshift, steps), last, shares[last])


def check_names(name: str, before: list[str], last: str) -> None:
    """Raise ValueError unless all parts are known, and the last one is a rule."""
    found = f"Found `rule = {name}`."
    if last not in RULES and not (before or last in STEPS):
        raise ValueError(
            f"Parameter `rule` should be one of {', '.join(RULES)}, perhaps with pre-aggregations in front, "
            f"as in `nnm+phocas`. {found} {did_you_mean(last, RULES)}".rstrip()
        )
    if unknown := [part for part in before if part not in STEPS]:
        raise ValueError(
            f"Parameter `rule` should have pre-aggregations in front: {', '.join(STEPS)}. {found} "
            f"There is no {' and no '.join(unknown)}. {did_you_mean(unknown[0], STEPS)}".rstrip()
        )
    pure = [key for key, spec in RULES.items() if spec and not spec.knows_more]
    if last not in (pure if before else RULES):
        raise ValueError(
            f"Parameter `rule` should end with a rule that can have pre-aggregations in front: "
            f"{', '.join(pure)}. {found} {did_you_mean(last, pure) if last not in RULES else ''}".rstrip()
        )


def make(kind: type[Any], fixed: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """Build a part. Raise ValueError for arguments that it does not have, or that the run decides."""
    names = [field.name for field in fields(kind) if field.init and field.name not in fixed]
    for argument in own:
        if argument not in names:
            known = ", ".join(names) or "it has none"
            other = did_you_mean(argument, names).rstrip()
            advice = other or ("Set f with `assumed_byzantine`." if fixed else "Correct its name.")
            raise ValueError(
                f"Parameter `rule_args` should hold arguments of {kind.__name__}: {known}. "
                f"Found `{argument}`. {advice}"
            )
    try:
        return kind(**fixed, **own)
    except TypeError as error:
        raise ValueError(
            f"Parameter `rule_args` should suit {kind.__name__}. "
            f"Found `rule_args = {dict(own)}`: {error}."
        ) from error


def rule_of(name: str, rule_args: Mapping[str, Any], assumed: int, seed: int = 0) -> rules.Rule:
    """Return the rule of a run. For Flower's own `fedavg`, it is the mean.

    Raises
    ------
    ValueError
        If `choose` raises it, or if the rule needs more than the updates of a round.
    """
    before, last, own = choose(name, rule_args, assumed, seed)
    spec = RULES[last]
    if spec is None:
        return rules.Mean()
    if spec.knows_more:
        raise ValueError(
            f"Parameter `rule` should be a rule that needs only updates. Found `rule = {name}`, which also "
            "needs the server's own data. Choose another rule."
        )
    rule = make(getattr(rules, spec.name), {spec.tolerance: assumed} if spec.tolerance else {}, own)
    built: rules.Rule = rule if before is None else before >> rule
    return built


def check_rule(
    name: str, rule_args: Mapping[str, Any], clients: int, assumed: int, payload: str
) -> None:
    """Raise ValueError unless the rule can work with that many clients."""
    last = choose(name, rule_args, assumed).rule
    spec = RULES[last]
    if spec is None:
        if payload == "gradients" or rule_args:
            raise ValueError(
                "Parameter `rule` should be `mean` rather than Flower's own `fedavg` for clients "
                f"that send gradients; and `fedavg` takes no arguments. Found `payload = {payload}`"
                f" and `rule_args = {dict(rule_args)}`."
            )
        return
    if spec.knows_more:
        return
    rule = rule_of(name, rule_args, assumed)
    if clients < rule.min_updates:
        raise ValueError(
            f"Parameter `clients` should be at least {rule.min_updates} for {name} with "
            f"`assumed_byzantine = {assumed}`. Found `clients = {clients}`: take more clients, "
            "or assume fewer of them Byzantine."
        )
    if rule.max_updates is not None and clients > rule.max_updates:
        raise ValueError(
            f"Parameter `clients` should be at most {rule.max_updates} for {name} with "
            f"`assumed_byzantine = {assumed}`. Found `clients = {clients}`: take fewer clients, or "
            "the rule `covariance_filter`."
        )


def _takes(kind: type[Any], argument: str) -> bool:
    return any(field.name == argument for field in fields(kind) if field.init)


def _of_run(
    kind: type[Any], assumed: int, seed: int, position: int, own: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a pre-aggregation that the run decides: f and the seed."""
    f = f_of(kind)
    fixed: dict[str, Any] = {f: assumed} if f else {}
    if _takes(kind, "seed") and "seed" not in own:
        fixed["seed"] = int(generator(Stream.BUCKETS, seed, position).integers(2**53))
    return fixed
