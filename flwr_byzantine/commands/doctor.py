"""``python -m flwr_byzantine doctor``, which finds out whether an installation works."""

import os
import platform
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import NamedTuple

import numpy as np
from packaging.requirements import Requirement

from flwr_byzantine import rules
from flwr_byzantine.kernels import Columns, inner_products, num_threads
from flwr_byzantine.kernels.compiled import VARIABLE, choice

APIS = {
    "aggregate_fit": ("flwr.server.strategy", "flwr_byzantine.strategies.fit_strategies"),
    "Message": ("flwr.serverapp.strategy", "flwr_byzantine.serverapp"),
}
OPTIONAL = {"torch": "auxiliary losses, simulations", "ray": "simulations"}
KNOWN: tuple[
    tuple[rules.Rule, list[float], float], ...
] = (  # the same numbers as in the tests, for all kernels except one
    (rules.Mean(), [1, 2, 6], 3),
    (rules.Phocas(1), [0, 1, 2, 9], 1),
    (rules.Krum(1), [0, 1, 3, 7, 100], 1),
    (rules.Bulyan(1), [0, 1, 2, 3, 10, 11, 100], 2),
)


class Finding(NamedTuple):
    """The result of one check.

    Parameters
    ----------
    mark : str
        ``"ok"``, ``"note"`` (it works, but the user should know this) or ``"FAIL"`` (something essential is
        broken).
    text : str
        What was found, and what to do about it.
    """

    mark: str
    text: str


def examine() -> Iterator[Finding]:
    """Make all checks.

    Yields
    ------
    Finding
        The result of each check. No check raises an error.
    """
    for check in (_dependencies, _extras, _apis, _threads, _kernels):
        try:
            yield from check()
        except Exception as error:  # report whatever is broken
            yield Finding("FAIL", f"{check.__name__[1:]}: {type(error).__name__}: {error}")


def report(write: Callable[[str], None] = print) -> int:
    """Write all findings, and return the exit code, which is 1 if something essential is broken."""
    system = f"Python {platform.python_version()} on {platform.system()}, {platform.machine()}"
    write(f"flwr-byzantine {_version('flwr-byzantine') or '(not installed)'}, {system}")
    broken = 0
    for mark, text in examine():
        write(f"{mark:<5} {text}")
        broken += mark == "FAIL"
    write(f"{broken} essential things are broken" if broken else "Everything essential works")
    return int(broken > 0)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _dependencies() -> Iterator[Finding]:
    if _version("flwr-byzantine") is None:
        yield Finding("note", "not installed as a package: the versions it needs are not known")
        return
    for text in metadata.requires("flwr-byzantine") or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        found = _version(needed.name)
        if found is None:
            yield Finding("FAIL", f"{needed.name} is missing: pip install '{needed}'")
        elif needed.specifier.contains(found, prereleases=True):
            yield Finding("ok", f"{needed.name} {found}, in {needed.specifier}")
        else:
            advice = f"not in {needed.specifier}: pip install '{needed}'"
            yield Finding("note", f"{needed.name} {found}, {advice}")


def _extras() -> Iterator[Finding]:
    for name, purpose in OPTIONAL.items():
        found = _version(name)
        yield Finding("ok", f"{name} {found or 'is not installed'} (optional: {purpose})")


def _apis() -> Iterator[Finding]:
    """Check the two server APIs of Flower. One of them is enough."""
    found = []
    for name, (theirs, ours) in APIS.items():
        try:
            import_module(theirs)
            import_module(ours)
        except ImportError as error:
            yield Finding("note", f"{name} API is not there: {error}")
        else:
            found.append(name)
            yield Finding("ok", f"{name} API of {theirs}: strategies in {ours}")
    if not found:
        yield Finding("FAIL", "no server API of Flower was found: install the flwr named above")


def _threads() -> Iterator[Finding]:
    threads = num_threads()  # raises a ValueError if the variable is wrong
    yield Finding("ok", f"{threads} threads, on {os.cpu_count()} cores")


def _kernels() -> Iterator[Finding]:
    """Check which kernels are in use, and whether each gives the right result for a few numbers."""
    chosen = choice()  # raises a ValueError if the variable asks for missing kernels
    wrong = [str(rule) for rule, values, known in KNOWN if _aggregate(rule, values) != known]
    wrong += ["inner products"] * (_inner_product() != 11)
    if wrong:
        advice = "" if chosen.name == "numpy" else f". Set {VARIABLE}=numpy to compute without them"
        found = f"the {chosen.name} kernels give wrong results: {', '.join(wrong)}{advice}"
        yield Finding("FAIL", found)
    elif chosen.name != "numpy":
        yield Finding(
            "ok", f"compiled kernels give the right results, for {chosen.name} instructions"
        )
    else:
        yield Finding("ok", "numpy's kernels give the right results")
        why = chosen.reason or f"the environment variable {VARIABLE} asks for it"
        yield Finding("note", f"numpy computes, several times slower than compiled kernels: {why}")


def _aggregate(rule: rules.Rule, values: list[float]) -> float:
    return float(rule(np.array(values, np.float32)[:, None])[0])


def _inner_product() -> float:
    row, vector = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    return float(inner_products(Columns([[row]], row.dtype, 1), [vector])[0])
