"""Attributes that Flower's robust strategies have: they read the rule, and setting them changes the rule."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from logging import WARNING
from typing import Any, ClassVar

from flwr.common.logger import log

from flwr_byzantine.checks import in_words, wrong
from flwr_byzantine.rules.base import Rule
from flwr_byzantine.rules.composition import innermost, with_innermost
from flwr_byzantine.rules.krum import Krum, MultiKrum
from flwr_byzantine.strategies.base import RobustStrategy
from flwr_byzantine.strategies.options import is_ours


class Attribute(ABC):
    """A keyword of a strategy as an attribute."""

    name: str

    def __set_name__(self, owner: type, name: str) -> None:
        """Remember the name of the keyword."""
        self.name = name

    def __get__(self, strategy: Any, owner: type | None = None) -> Any:
        """Read it."""
        return self if strategy is None else self.read(strategy)

    @abstractmethod
    def read(self, strategy: Any) -> Any:
        """The value in a strategy."""


class OfRule(Attribute):
    """A field of the rule, under the strategy's word for it.

    Parameters
    ----------
    name : str
        The strategy's word.
    words : Mapping[str, str]
        Field of a rule -> the strategy's word for it.
    """

    def __init__(self, name: str, words: Mapping[str, str]) -> None:
        self.name, self.words = name, words

    def read(self, strategy: Any) -> Any:
        """The rule's field."""
        return getattr(innermost(strategy.rule), self._field(strategy))

    def __set__(self, strategy: Any, value: Any) -> None:
        """Make a new rule with this value. Raise ParameterError if the rule cannot have it."""
        with in_words(self.words):
            field, rule = self._field(strategy), innermost(strategy.rule)
            strategy.rule = with_innermost(strategy.rule, replace(rule, **{field: value}))

    def _field(self, strategy: Any) -> str:
        fields = (field for field, word in self.words.items() if word == self.name)
        found = next((field for field in fields if hasattr(innermost(strategy.rule), field)), None)
        if found is None:  # another rule was set
            raise AttributeError(f"{strategy.rule} has no `{self.name}`", name=self.name)
        return found


class Selected(Attribute):
    """m of Flower's Krum. Here, Krum with m is another class: Multi-Krum.

    Parameters
    ----------
    alone : int
        The value that stands for Krum itself, which selects one update.
    """

    def __init__(self, alone: int) -> None:
        self.alone = alone

    def read(self, strategy: Any) -> Any:
        """The m of the rule."""
        rule: Any = innermost(strategy.rule)
        return self.alone if isinstance(rule, Krum) else rule.num_selected

    def __set__(self, strategy: Any, value: Any) -> None:
        """Change the rule to Multi-Krum, or back to Krum."""
        now: Any = innermost(strategy.rule)
        f = now.num_byzantine
        with in_words({"num_selected": self.name}):
            rule = Krum(f) if value == self.alone else MultiKrum(f, value)
            strategy.rule = with_innermost(strategy.rule, rule)


class Unused(Attribute):
    """A keyword of Flower that has no effect here. It can be read, but not be set.

    Parameters
    ----------
    usual : Any
        The default value.
    """

    def __init__(self, usual: Any) -> None:
        self.usual = usual

    def read(self, strategy: Any) -> Any:
        """The given value, or the default."""
        return vars(strategy).get(self.name, self.usual)

    def __set__(self, strategy: Any, value: Any) -> None:
        """Raise."""
        owner, advice = type(strategy).__name__, "The selection is always Krum's."
        raise wrong(self.name, "left unchanged", value, advice, owner=owner)


def keep_unused(strategy: Any, given: Mapping[str, Any]) -> None:
    """Keep keywords that have no effect, and warn of those that somebody set."""
    for name, value in given.items():
        usual = getattr(type(strategy), name).usual
        if value is not None and value != usual:
            vars(strategy)[name] = value
            text = "`%s` has no effect: %s selects by Krum"
            log(WARNING, text, name, type(strategy).__name__)


class Declared:
    """A strategy that is declared by its rule alone: ``class Median(Plain, rule=rules.Median)``.

    Parameters
    ----------
    rule : Callable or None
        The class of the rule. It is None in a user's subclass, which takes the rule of its base class.
    """

    _kind: ClassVar[Callable[..., Rule]]

    def __init_subclass__(cls, *, rule: Callable[..., Rule] | None = None, **kwargs: Any) -> None:
        """Keep the class of the rule."""
        super().__init_subclass__(**kwargs)
        if rule is not None:
            cls._kind = rule


def declare(strategy: type, words: Mapping[str, str]) -> None:
    """Make the keywords of a strategy of this library its attributes."""
    init = vars(strategy).get("__init__")
    if init is None or not is_ours(strategy):
        return
    for word in inspect.signature(init).parameters:
        if word in words.values() and word not in vars(strategy):
            setattr(strategy, word, OfRule(word, words))


def public_names(module: Mapping[str, Any]) -> list[str]:
    """The names of the strategies in a module, and of its functions that read and write models."""
    return [
        name
        for name, thing in module.items()
        if name.startswith(("read_", "write_")) or _is_strategy(thing)
    ]


def _is_strategy(thing: object) -> bool:
    if not isinstance(thing, type) or not issubclass(thing, RobustStrategy):
        return False
    return not issubclass(thing, Declared) or hasattr(thing, "_kind")
