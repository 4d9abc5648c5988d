"""The places where data pass in an unchanged app: loaders of torch and estimators of scikit-learn.

Their calls are intercepted while one node answers one message. A call inside another intercepted call, such
as a step of a pipeline, stays unchanged, so that no data are changed twice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Protocol

from flwr_byzantine.lab.watching import with_own

TORCH, SKLEARN = "torch.utils.data", "sklearn.base"


class Change(Protocol):
    """A change of the data that pass.

    Attributes
    ----------
    methods : tuple of str
        The methods of scikit-learn's estimators that are intercepted.
    leaves_out : bool
        Whether some samples are left out.
    count : int
        How many samples were changed so far.
    """

    methods: tuple[str, ...]
    leaves_out: bool
    count: int

    def batch(self, batch: Any) -> Any:
        """Return the batch that a loop gets instead; None leaves the batch out."""

    def wants(self, estimator: Any) -> bool:
        """Whether to change the data of this estimator of scikit-learn."""

    def examples(self, samples: Any, labels: Any) -> tuple[Any, Any]:
        """Return the data that an estimator gets instead."""


class Guard:
    """Whether an intercepted call is running. Calls inside it are not intercepted."""

    def __init__(self) -> None:
        self.depth = 0
        self.is_open = True

    @property
    def is_free(self) -> bool:
        """Whether data have to be changed now."""
        return self.is_open and self.depth == 0

    def __enter__(self) -> None:
        """Begin."""
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        """End."""
        self.depth -= 1


def loaded() -> set[str]:
    """Which of torch and scikit-learn are loaded."""
    return {TORCH, SKLEARN} & sys.modules.keys()


@contextmanager
def intercepted(change: Change) -> Iterator[None]:
    """Change what loaders yield and what estimators are given.

    Parameters
    ----------
    change : Change
        The change of the data.
    """
    guard = Guard()
    with ExitStack() as stack:
        stack.callback(setattr, guard, "is_open", False)
        if (data := sys.modules.get(TORCH)) is not None:
            for kind in {*with_own(data.DataLoader, "__iter__")}:
                _patch(stack, kind, "__iter__", _of_loader(change, guard, stack))
        if (base := sys.modules.get(SKLEARN)) is not None:
            for root in (base.BaseEstimator, base.ClassifierMixin):
                for name in change.methods:
                    for kind in {*with_own(root, name)}:
                        _patch(stack, kind, name, _of_estimator(change, guard))
        yield


Around = Callable[[Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def _patch(stack: ExitStack, kind: type, name: str, around: Around) -> None:
    """Put a function around a method of a class until the stack is closed."""
    method = vars(kind)[name]

    def changed(self: Any, *arguments: Any, **keywords: Any) -> Any:
        bound = method.__get__(self, type(self))  # some of scikit-learn's methods are no functions
        return around(self, bound, arguments, keywords)

    if callable(method):
        changed = wraps(method)(changed)
    setattr(kind, name, changed)
    stack.callback(setattr, kind, name, method)


def _of_loader(change: Change, guard: Guard, stack: ExitStack) -> Around:
    def iterate(
        loader: Any, method: Callable[..., Any], _: tuple[Any, ...], __: dict[str, Any]
    ) -> Any:
        if not guard.is_free:
            return method()
        own = vars(loader)
        if isinstance(own.get("dataset"), _Sized):
            own["dataset"] = own["dataset"].dataset
        with guard:
            batches = _Batches(method(), change, guard)
        if change.leaves_out and "dataset" in own:  # apps divide by the length of the data set
            dataset = own["dataset"]
            own["dataset"] = _Sized(dataset, batches)
            stack.callback(own.__setitem__, "dataset", dataset)
        return batches

    return iterate


def _of_estimator(change: Change, guard: Guard) -> Around:
    def give(
        estimator: Any, method: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        both = dict(zip(("X", "y"), given, strict=False)) | named
        if not guard.is_free or both.get("y") is None or not change.wants(estimator):
            return method(*given, **named)
        with guard:
            both["X"], both["y"] = change.examples(both["X"], both["y"])
            return method(both.pop("X"), both.pop("y"), *given[2:], **both)

    return give


class _Batches:
    """The batches of a loader, changed while calls are intercepted."""

    def __init__(self, batches: Iterator[Any], change: Change, guard: Guard) -> None:
        self.batches, self.change, self.guard = batches, change, guard
        self.passed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while True:
            with self.guard:
                batch = next(self.batches)
            before = self.change.count
            changed = self.change.batch(batch) if self.guard.is_open else batch
            self.passed += self.change.count - before
            if changed is not None:
                return changed

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)


class _Sized:
    """A data set whose length is the number of samples that passed."""

    def __init__(self, dataset: Any, batches: _Batches) -> None:
        self.dataset, self.batches = dataset, batches

    def __len__(self) -> int:
        return self.batches.passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __getitem__(self, i: Any) -> Any:
        return self.dataset[i]
