"""Byzantine-robust aggregation for Flower: the strategies of the ``aggregate_fit`` API.

The strategies of the Message API have the same names, in :mod:`flwr_byzantine.serverapp`. The rules are in
:mod:`flwr_byzantine.rules`, the attacks in :mod:`flwr_byzantine.attacks`, and clients that misbehave in
:mod:`flwr_byzantine.clients`. Nothing is loaded before it is used, so rules and attacks need neither Flower
nor torch.
"""
# mypy: implicit-reexport

from typing import TYPE_CHECKING, Any

from flwr_byzantine import _moved

if TYPE_CHECKING:
    from flwr_byzantine.aggregation.outcome import TooFewUpdatesError as TooFewUpdatesError
    from flwr_byzantine.audit.suspicion import Suspicion as Suspicion
    from flwr_byzantine.strategies.fit_strategies import *  # noqa: F403

    __version__: str

_moved.install()


def _strategies() -> Any:
    from flwr_byzantine.strategies import fit_strategies

    return fit_strategies


def _load(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("flwr-byzantine")
    if name == "TooFewUpdatesError":
        from flwr_byzantine.aggregation import outcome

        return outcome.TooFewUpdatesError
    if name == "Suspicion":
        from flwr_byzantine import audit

        return audit.Suspicion
    if name == "__all__":
        return ["TooFewUpdatesError", *_strategies().__all__]
    if name in _moved.MOVED:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if _is_strategy(name) and name in _strategies().__all__:
        return getattr(_strategies(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _is_strategy(name: str) -> bool:
    """Whether a name may be a strategy's. Python asks here for modules too, before it looks for files."""
    from importlib.util import find_spec

    return not name.startswith("_") and find_spec(f"{__name__}.{name}") is None


def __dir__() -> list[str]:
    """The public names. Without Flower there are no strategies."""
    try:
        public = _load("__all__")
    except ImportError:
        public = []
    return sorted([*globals(), *public, "__version__"])


if not TYPE_CHECKING:  # so that type checkers can find wrong names
    __getattr__ = _load
