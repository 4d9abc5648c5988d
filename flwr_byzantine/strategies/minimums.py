"""How many clients a round asks: as many as the rule needs. Fewer clients give an error or a warning."""

from collections.abc import Mapping
from logging import INFO, WARNING
from typing import Any

from flwr.common.logger import log

from flwr_byzantine.aggregation.progress import Words
from flwr_byzantine.checks import require_whole, wrong
from flwr_byzantine.rules.base import Rule, require_rule
from flwr_byzantine.rules.bounds import find_f
from flwr_byzantine.rules.preaggregation import in_front
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.flowers import check_flowers

FLOWERS = 2  # Flower's own defaults


def needed_by(rule: Rule) -> int:
    """The smallest number of clients such that it and every larger number are enough for the rule."""
    return max(FLOWERS, rule.min_updates)


def defaults(rule: Rule, given: Mapping[str, Any], words: Words) -> dict[str, int]:
    """The minimums for a rule if the user gave none: how many clients a round asks and waits for.

    Parameters
    ----------
    rule : Rule
        The rule.
    given : Mapping[str, Any]
        The keywords of the strategy.
    words : Words
        The names of the minimums in the API.
    """
    asked, evaluated, available = words.minimums
    found: dict[str, int] = {}
    if given.get(asked) is None:
        found[asked] = needed_by(rule)
    if given.get(available) is None:
        others = (given.get(asked) or found.get(asked), given.get(evaluated, FLOWERS))
        found[available] = max(needed_by(rule), *(n for n in others if isinstance(n, int)))
    return found


def check(owner: str, rule: Rule, given: Mapping[str, Any], words: Words, bound: str) -> None:
    """Raise if a user asks fewer clients than the rule needs; warn if ``bound="warn"`` allows it.

    Raises
    ------
    ParameterError
        If a minimum is smaller than the rule needs, or no number.
    """
    asked, _, available = words.minimums
    for name in (asked, available):
        value = given.get(name)
        if value is None:
            continue
        advice = "Leave it out to ask as many as the rule needs."
        require_whole(name, value, 1, advice, owner=owner)
        at_most(owner, rule, name, value, words)
        least = rule.at(value).min_updates
        if value >= least:
            continue
        found = find_f(rule)
        promised = f" for `{words.f} = {found[1]}`" if found else ""
        expected = f"at least {least}, the number of replies that it needs{promised}"
        advice = f"Pass {least} or more, or leave it out"
        advice += f", or lower `{words.f}`." if found else "."
        error = wrong(
            name, expected, value, f'{advice} `bound="warn"` runs below the bound.', owner=owner
        )
        if bound != "warn":
            raise error
        log(WARNING, "%s", error)


def at_most(owner: str, rule: Rule, name: str, value: int, words: Words) -> None:
    """Raise if a user asks more clients than the rule can handle."""
    most = rule.at(value).max_updates
    if most is None or value <= most:
        return
    expected = (
        f"at most {most}, the number of replies that its rule can handle in a reasonable time"
    )
    advice = f"Ask fewer {words.clients}, lower `{words.f}`, or take a rule without that limit."
    raise wrong(name, expected, value, advice, owner=owner)


def say(owner: str, chosen: Mapping[str, int], clients: str) -> None:
    """Log the minimums that nobody gave, if they differ from Flower's own."""
    above = {name: n for name, n in chosen.items() if n > FLOWERS}
    if above:
        shown = " and ".join(f"`{name} = {n}`" for name, n in above.items())
        text = "%s waits for as many %s as its rule needs: %s"
        log(INFO, text, owner, clients, shown)


class EnoughReplies(RobustStrategy):
    """FedAvg with minimums that are enough for the rule. It is a mixin in front of each API's adapter.

    Parameters
    ----------
    rule : flwr_byzantine.rules.Rule
        The aggregation rule.
    **options
        Keywords of FedAvg and of :class:`flwr_byzantine.strategies.base.RobustStrategy`.

    Raises
    ------
    ParameterError
        If a minimum is smaller than what the rule needs.
    """

    def __init__(self, *, rule: Rule, **options: Any) -> None:
        require_rule(rule)
        check_flowers(options, type(self).__name__)
        rule = in_front(options.pop("pre_aggregation", None), rule)
        words, owner = self._words_for(rule), type(self).__name__
        given = {
            name: v for name, v in options.items() if name not in words.minimums or v is not None
        }
        chosen = {}
        if given.get("fraction_train") != 0:  # then nobody is asked to train
            check(owner, rule, given, words, str(given.get("bound")))
            chosen = defaults(rule, given, words)
        super().__init__(rule=rule, **given | chosen)
        self._chosen = {*chosen}
        say(owner, chosen, words.clients)

    def __repr__(self) -> str:
        """The name of the strategy, with its rule."""
        return f"{type(self).__name__}(rule={self.aggregator.rule})"

    def _check_new(self, rule: Rule) -> None:
        if vars(self).get("fraction_train") == 0:
            return
        words, owner = self._words_for(rule), type(self).__name__
        given = {name: v for name, v in vars(self).items() if name not in self._chosen}
        check(owner, rule, given, words, self.aggregator.bound)
        for name, value in defaults(rule, given, words).items():
            vars(self)[name] = value

    def _set_minimum(self, name: str, value: Any) -> None:
        """Take a minimum over from the user."""
        words, owner = self._words_for(self.rule), type(self).__name__
        check(owner, self.rule, {name: value}, words, self.aggregator.bound)
        self._chosen.discard(name)


class Minimum:
    """A minimum of a strategy. It can be set, but not below what the rule needs."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the name of the minimum."""
        self.name = name

    def __get__(self, strategy: Any, owner: type | None = None) -> Any:
        """The number."""
        if strategy is None:
            return self
        try:
            return vars(strategy)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None

    def __set__(self, strategy: Any, value: Any) -> None:
        """Check the number as soon as there is a rule, and keep it."""
        if "aggregator" in vars(strategy):
            strategy._set_minimum(self.name, value)
        vars(strategy)[self.name] = value
