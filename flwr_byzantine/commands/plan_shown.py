"""``flwr-byzantine plan``: the words of its options, and its table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from flwr_byzantine.checks import wrong
from flwr_byzantine.commands.options import number, part_of, whole
from flwr_byzantine.commands.plan import NAMES, Plan, RulePlan, plan_f


def plan_written(
    population: str,
    byzantine: str,
    sample: str | None,
    fraction: str | None,
    rounds: str,
    risk: str,
    rules: Sequence[str],
    as_json: bool,
) -> Iterator[str]:
    """Plan f for the given options, and return the lines to print.

    Raises
    ------
    ParameterError
        If the value of an option is not possible. The error names the parameter.
    """
    nodes = whole("population", population, "100")
    attackers = part_of("byzantine", byzantine, nodes)
    asked = _asked(sample, fraction, nodes)
    plan = plan_f(
        nodes, attackers, asked, whole("rounds", rounds, "200"), number("risk", risk, "1e-3"),
        rules or NAMES,
    )  # fmt: skip
    if as_json:
        yield json.dumps(plan.to_dict(), indent=2)
    else:
        yield from lines(plan)


def lines(plan: Plan) -> Iterator[str]:
    """The plan in words, and a table of the rules."""
    f, n = plan.f, plan.sample
    yield (
        f"f = {f} for samples of {n} of {plan.population} nodes, {plan.byzantine} of them Byzantine, "
        f"over {plan.rounds} rounds"
    )
    yield f"Byzantine nodes in a sample, on average: {plan.expected:.3g}"
    yield f"Risk that any round has more than {f}: {plan.risk_left:.2g} (allowed: {plan.risk:g})"
    if plan.risk_below is not None:
        yield f"Risk with f = {f - 1}: {plan.risk_below:.2g}"
    if not any(rule.works for rule in plan.rules):
        yield from _nothing_works(plan)
    yield ""
    rows = [("rule", "replies", f"n = {n}", "nodes", "strategy (Message API)")]
    rows += [_row(rule, plan) for rule in plan.rules]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for name, replies, *middle, last in rows:
        cells = [name.ljust(widths[0]), replies.rjust(widths[1])]
        cells += [text.ljust(width) for text, width in zip(middle, widths[2:], strict=True)]
        yield "  ".join([*cells, last]).rstrip()
    yield ""
    yield (
        "`replies` is how many replies have to arrive for that f. `nodes` is the smallest sample that works, "
        "with the f for that sample."
    )
    yield (
        "In the aggregate_fit API the keyword is num_malicious_clients. For a rule alone it is trim or "
        "num_byzantine. --json shows all of them."
    )


def _nothing_works(plan: Plan) -> Iterator[str]:
    """Say that no rule works, why if no sample can help, and what is left."""
    yield f"No rule here works with {plan.sample} nodes and f = {plan.f}."
    if 2 * plan.byzantine >= plan.population:
        yield (
            f"At most half of the nodes are honest: {plan.byzantine} of {plan.population} are Byzantine. "
            "No rule that knows the updates alone can tell the two groups apart."
        )
    yield "FLTrust and ByGARS take any f. They need clean data on the server."


def _row(rule: RulePlan, plan: Plan) -> tuple[str, str, str, str, str]:
    replies = "-" if rule.replies is None else str(rule.replies)
    if rule.sample is None:
        return rule.name, replies, "no", "none is enough", "-"
    nodes = str(rule.sample) if rule.works else f"{rule.sample}, f = {rule.f}"
    return rule.name, replies, "yes" if rule.works else "no", nodes, rule.message_strategy or "-"


def _asked(sample: str | None, fraction: str | None, population: int) -> int:
    """Read how many nodes a round asks: a number, or a fraction of them, rounded down as in Flower."""
    if (sample is None) == (fraction is None):
        found = "neither" if sample is None else "both"
        advice = "Write `--sample 20` or `--fraction-train 0.2`."
        expected = "given, or `fraction_train` instead"
        raise wrong("sample", expected, sample, advice, found=found)
    if sample is not None:
        return whole("sample", sample, "20")
    assert fraction is not None
    share = number("fraction_train", fraction, "0.2")
    if not 0 < share <= 1:
        advice = "Write it as 0.2."
        raise wrong("fraction_train", "above 0 and at most 1", share, advice)
    asked = int(population * share)
    if asked < 1:
        expected = f"large enough for at least one of {population} nodes"
        raise wrong("fraction_train", expected, share, "Pass a larger fraction.")
    return asked
