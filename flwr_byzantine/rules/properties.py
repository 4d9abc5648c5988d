"""The properties of a rule that :func:`flwr_byzantine.rules.check_rule` tests, with a function for each.

Each function gets a trial. It returns in words what is wrong, or None.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flwr_byzantine.checks import is_whole
from flwr_byzantine.rules.base import Rule, require_rule
from flwr_byzantine.rules.trials import NUM_VALUES, Rows, Trial, alike_but_for_ties

Property = Callable[[Trial], str | None]

CLOSE = 1e-9  # how much rounding may change a result, relative to the values
UP_TO_TIES = 1e-5  # the same, if distances were changed so that no two are equal
MOST_DIAMETERS = (
    10.0  # how far f attackers may move the result from the honest mean, in honest diameters
)
MOST_WITH_LENGTH = 1e6  # the same for a rule with a length of its own, whatever the diameter
WORST = {"1e6": 1e6, "1e20": 1e20, "NaN": np.nan, "inf": np.inf, "-inf": -np.inf}
CLAIMS = (1e300, np.nan, 0.0, -1e300)  # numbers of examples that attackers may claim


def numbers(trial: Trial) -> str | None:
    """`min_updates` is a whole number of at least 1. `tolerated(n)` is one of at least 0, below n / 2."""
    require_rule(trial.rule)
    if not is_whole(trial.f) or trial.f < 0 or 2 * trial.f >= trial.n:
        return f"`tolerated({trial.n})` is {trial.f!r}"
    for flag in ("uses_distances", "uses_model", "uses_counts", "averages", "order_matters"):
        if not isinstance(getattr(trial.rule, flag), bool):
            return f"`{flag}` is {getattr(trial.rule, flag)!r}, not True or False"
    return None


def at(trial: Trial) -> str | None:
    """`at(n)` is the rule for n updates, which are enough for it, and `at(n)` of that rule is the same."""
    rule = trial.rule.at(trial.n)
    if not isinstance(rule, Rule) or rule.at(trial.n) != rule:
        return f"`at({trial.n})` is {rule!r}"
    if rule.min_updates > trial.n:
        return f"`at({trial.n})` is {rule!r}, whose `min_updates` is {rule.min_updates}"
    return None


def without(trial: Trial) -> str | None:
    """`without(m)` is a rule whose f is smaller by at most m, and which needs no more updates."""
    for m in (0, 1, 2, 1000):
        rule = trial.rule.without(m)
        if not isinstance(rule, Rule) or (m == 0 and rule != trial.rule):
            return f"`without({m})` is {rule!r}"
        f = rule.at(trial.n).tolerated(trial.n)
        if f < trial.f - m:
            return f"`without({m})` is {rule!r}, which tolerates {f} in place of {trial.f}"
        if rule.min_updates > trial.rule.min_updates:
            return f"`without({m})` is {rule!r}, which needs {rule.min_updates} updates"
    return None


def value(trial: Trial) -> str | None:
    """A copy equals the rule and has its hash."""
    twin = copy.deepcopy(trial.rule)
    if twin != trial.rule:
        return "a copy that is not equal to the rule"
    return None if hash(twin) == hash(trial.rule) else "a copy with another hash"


def finite(trial: Trial) -> str | None:
    """From `min_updates` on, finite updates give one finite value for each coordinate."""
    result = trial.result()
    if result.shape != (NUM_VALUES,):
        return f"a result of shape {result.shape} for updates of {NUM_VALUES} values"
    return None if np.isfinite(result).all() else f"the result {result}"


def too_few(trial: Trial) -> str | None:
    """Fewer than `min_updates` updates raise ValueError."""
    least = trial.rule.min_updates
    counts = None if trial.counts is None else trial.counts[: least - 1]
    fewer = replace(trial, updates=trial.updates[: least - 1], counts=counts)
    try:
        result = fewer.result()
    except ValueError:
        return None
    return f"that {least - 1} updates gave {result}"


def untouched(trial: Trial) -> str | None:
    """The rule changes neither updates, model, distances nor counts, and its result is a new array."""
    before: tuple[Rows | None, ...] = copy.deepcopy((trial.updates, trial.model, trial.counts))
    result = trial.result()
    if not _same(before, (trial.updates, trial.model, trial.counts)):
        return "that a call changed its own input"
    if np.shares_memory(result, trial.updates):
        return "that the result shares memory with the updates"
    rule, given = trial.rule.at(trial.n), trial.given()
    squared = None if given.distances is None else given.distances.squared
    before = copy.deepcopy((squared, given.counts))
    for name, method in (("mixing", rule.mixing_of), ("scores", rule.scores_of)):
        method(given)
        if not _same(before, (squared, given.counts)):
            return f"that `{name}` wrote to its input. Let it write to a copy"
    return None


def repeats(trial: Trial) -> str | None:
    """The same updates give the same bits. A rule that draws random numbers takes its seed from `drawn`."""
    first = trial.result()
    for _ in range(4):
        again = trial.result()
        if not np.array_equal(first, again, equal_nan=True):
            return f"{first} at first, and {again} later"
    return None


def permutation(trial: Trial) -> str | None:
    """The order of the updates decides only ties, unless `order_matters`."""
    if trial.rule.order_matters:
        return None
    random = np.random.default_rng(trial.seed)
    keys = np.arange(1, trial.n + 1, dtype=np.float64)
    orders = [random.permutation(trial.n) for _ in range(3)]
    for order in [np.roll(np.arange(trial.n), 1), *orders]:
        other = trial.reordered(order)
        before, after = trial.result(), other.result()
        if np.allclose(before, after, rtol=CLOSE, atol=CLOSE):
            continue
        mixing, mixed = trial.mixing(keys), other.mixing(keys[order])
        untied = trial.reduced(mixing), other.reduced(mixed)
        if np.allclose(*untied, rtol=UP_TO_TIES, atol=UP_TO_TIES):
            continue
        if mixed is not None:
            back = mixed.copy()
            back[:, order] = mixed[:, : trial.n]
            mixed = back
        if not alike_but_for_ties(mixing, mixed):
            return f"{before}, and in the order {order.tolist()} {after}"
    return None


def translation(trial: Trial) -> str | None:
    """If all updates, and the model if the rule asks for it, move by a vector, the result moves by it too."""
    by = np.round(np.random.default_rng(trial.seed).uniform(-100, 100, NUM_VALUES))
    other = trial.moved(by)
    before, after = trial.result(), other.result()
    if np.allclose(after, before + by, rtol=CLOSE, atol=1e3 * CLOSE):
        return None
    if alike_but_for_ties(trial.mixing(), other.mixing()):
        return None
    return f"{before}, and {after} of updates moved by {by}"


def scaling(trial: Trial) -> str | None:
    """If updates are multiplied by a power of two, `scaled(factor)` gives the result times that number."""
    before = trial.result()
    for factor in (2.0**-30, 0.5, 2.0**30):
        after = trial.times(factor).result()
        if not np.allclose(after / factor, before, rtol=CLOSE, atol=CLOSE):
            advice = "If the rule has a length of its own, override `scaled`"
            return f"{before}, and {after} of updates times {factor}. {advice}"
    return None


def identical(trial: Trial) -> str | None:
    """Updates that are all the same give that update."""
    rule = trial.rule.scaled(2.0**40)  # the rule's own lengths are then longer than these updates
    row = trial.updates[0]
    result = replace(trial, rule=rule, updates=np.tile(row, (trial.n, 1))).result()
    same = np.allclose(result, row, rtol=CLOSE, atol=CLOSE)
    return None if same else f"{result} of updates that are all {row}"


def layout(trial: Trial) -> str | None:
    """Lists, separate rows and column-major arrays give the same bits, and float32 gives float32."""
    expected, x = trial.result(), trial.updates
    shapes = {"a list of rows": [*x], "lists": x.tolist(), "columns in a row": np.asfortranarray(x)}
    for name, updates in shapes.items():
        result = np.asarray(trial.rule(updates, trial.model, trial.counts))
        if not np.array_equal(result, expected):
            return f"{expected}, and {result} of the same updates as {name}"
    single = replace(trial, updates=x.astype(np.float32)).result()
    if single.dtype != np.float32 or not np.allclose(single, expected, rtol=1e-5, atol=1e-5):
        return f"{expected}, and {single}, {single.dtype}, of the same updates in float32"
    return None


def close_models(trial: Trial) -> str | None:
    """Models in float32 that differ by 1e-4 of their size give the same result as their differences do."""
    random = np.random.default_rng(trial.seed)
    model = random.uniform(1, 100, 500).astype(np.float32)
    models = (model * (1 + 1e-4 * random.normal(size=(trial.n, 500)))).astype(np.float32)
    base = model if trial.rule.uses_model else None
    sent = replace(trial, updates=models, model=base)
    differences = replace(trial, updates=models.astype(np.float64) - model, model=None)
    error = float(np.max(np.abs(sent.result() / (differences.result() + model) - 1)))
    if error <= 1e-6 or alike_but_for_ties(sent.mixing(), differences.mixing()):
        return None
    return f"a relative error of {error:.1e}"


def weights(trial: Trial) -> str | None:
    """Each row of the mixing matrix has the sum 1, unless the model gets the rest."""
    mixing, _ = trial.rule.plan(trial.given())
    if mixing is None or (trial.rule.uses_model and mixing.shape[1] == trial.n):
        return None
    sums = mixing.sum(axis=1)
    return None if np.allclose(sums, 1, rtol=CLOSE) else f"sums of {sums}"


def scores(trial: Trial) -> str | None:
    """Scores are one real number for each update, and no score is NaN if all updates are finite."""
    found = trial.rule.checked_scores(trial.given())
    return f"the scores {found}" if found is not None and np.isnan(found).any() else None


def counts(trial: Trial) -> str | None:
    """The result of finite updates is finite, whatever numbers of examples clients claim."""
    if not trial.rule.uses_counts:
        return None
    for claim in CLAIMS:
        some, everybody = np.array(trial.counts), np.full(trial.n, claim)
        some[: (trial.n + 1) // 2] = claim
        for claimed in (some, everybody):
            result = replace(trial, counts=claimed).result()
            if not np.isfinite(result).all():
                return f"the result {result} if clients claim {claimed.tolist()}"
    return None


def robustness(trial: Trial) -> str | None:
    """Whatever f = `tolerated(n)` clients send and claim, the result stays near the honest updates."""
    random = np.random.default_rng([trial.seed, trial.n])
    has_length = trial.rule.scaled(2.0) != trial.rule
    for name, worst in WORST.items() if trial.f else ():
        if has_length and name == "1e6":
            continue
        for how in ("one-sided", "both signs", "one coordinate"):
            for claim in CLAIMS if trial.counts is not None else CLAIMS[:1]:
                byzantine = random.permutation(trial.n)[: trial.f]
                attacked = _attacked(trial, byzantine, worst, how, claim)
                if found := _far(trial, attacked, byzantine, has_length):
                    which = f"with updates {sorted(byzantine.tolist())} being {name}, {how}"
                    also = "" if trial.counts is None else f", with {claim:g} examples claimed"
                    return f"{found}, {which}{also}"
    return None


def _attacked(trial: Trial, byzantine: Rows, worst: float, how: str, claim: float) -> Trial:
    """The same trial with Byzantine updates in place of some updates."""
    updates = trial.updates.astype(np.float32)
    claims = None if trial.counts is None else trial.counts.copy()
    if how == "one coordinate":
        updates[byzantine, byzantine % NUM_VALUES] = worst
    else:
        updates[byzantine] = worst
    if how == "both signs":
        updates[byzantine[::2]] *= -1
    if claims is not None:
        claims[byzantine] = claim
    return replace(trial, updates=updates, counts=claims)


def _far(trial: Trial, attacked: Trial, byzantine: Rows, has_length: bool) -> str | None:
    """What is wrong if the result is too far from the honest mean, else None."""
    result = attacked.result().astype(np.float64)
    if not np.isfinite(result).all():
        return f"the result {result}"
    honest = np.delete(trial.updates, byzantine, axis=0)
    diameter = np.linalg.norm(honest[:, None] - honest, axis=2).max()
    away = np.linalg.norm(result - honest.mean(axis=0)) / max(diameter, 1.0)
    most = MOST_WITH_LENGTH if has_length else MOST_DIAMETERS
    text = f"a result {away:.3g} times the honest updates' diameter away from their mean"
    return None if away <= most else f"{text}, and at most {most:g} times is allowed"


def _same(before: object, after: object) -> bool:
    """Whether arrays in two tuples are equal, bit for bit."""
    try:
        np.testing.assert_equal(after, before)
    except AssertionError:
        return False
    return True


PROPERTIES: dict[str, Property] = {
    check.__name__: check
    for check in (
        numbers, at, without, value, finite, too_few, repeats, untouched, permutation, translation,
        scaling, identical, layout, close_models, weights, scores, counts, robustness,
    )
}  # fmt: skip
