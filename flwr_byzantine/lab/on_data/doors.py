"""Where data pass in an app that stays as it is: loaders of torch, and estimators of scikit-learn.

They are intercepted for as long as one node answers one message. What is intercepted inside another one
that is, such as the steps of a pipeline, passes as it is, so that nothing is changed twice.
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
    """What is done to data that pass.

    Attributes
    ----------
    methods : tuple of str
        Those of scikit-learn's estimators that are intercepted.
    leaves_out : bool
        Whether some samples are left out.
    count : int
        How many samples were changed so far.
    """

    methods: tuple[str, ...]
    leaves_out: bool
    count: int

    def batch(self, batch: Any) -> Any:
        """Return what a loop is given in the place of a batch; None leaves the batch out."""

    def wants(self, estimator: Any) -> bool:
        """Whether the data of an estimator of scikit-learn's are meant."""

    def examples(self, samples: Any, labels: Any) -> tuple[Any, Any]:
        """Return what an estimator is given."""


class Guard:
    """Whether something that is intercepted is at work, inside which nothing else is."""

    def __init__(self) -> None:
        self.depth = 0
        self.is_open = True

    @property
    def is_free(self) -> bool:
        """Whether data are to be changed."""
        return self.is_open and self.depth == 0

    def __enter__(self) -> None:
        """Begin."""
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        """End."""
        self.depth -= 1


def loaded() -> set[str]:
    """Which of the two are there to be intercepted."""
    return {TORCH, SKLEARN} & sys.modules.keys()


@contextmanager
def intercepted(change: Change) -> Iterator[None]:
    """Change what loaders yield and what estimators are given.

    Parameters
    ----------
    change : Change
        What is done to them.
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
    """Put a function around a method of a class, until the stack is closed."""
    method = vars(kind)[name]

    def changed(self: Any, *arguments: Any, **keywords: Any) -> Any:
        bound = method.__get__(self, type(self))  # of scikit-learn, some are no functions
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
        if change.leaves_out and "dataset" in own:  # apps divide by its length
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
    """The batches of a loader, changed as long as the door is open."""

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
    """A data set that is as long as what passed of it."""

    def __init__(self, dataset: Any, batches: _Batches) -> None:
        self.dataset, self.batches = dataset, batches

    def __len__(self) -> int:
        return self.batches.passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __getitem__(self, i: Any) -> Any:
        return self.dataset[i]
