"""The two engines for runs of an app: this process, and Flower's Ray engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from flwr.clientapp import ClientApp

from flwr_byzantine.checks import require, wrong
from flwr_byzantine.lab.in_process import InProcessGrid, as_running_task
from flwr_byzantine.lab.ray_address import require_cluster
from flwr_byzantine.lab.ray_engine import Serve, run_on_ray

INLINE, RAY = "inline", "ray"
ENGINES = (INLINE, RAY)
OTHERWISE = f'Take `engine="{INLINE}"`'


def require_engine(engine: str) -> None:
    """Raise unless an engine is one of the two, and is installed or already runs."""
    require(engine in ENGINES, "engine", " or ".join(map(repr, ENGINES)), engine, OTHERWISE + ".")
    if engine == RAY and find_spec("ray") is None:
        advice = f"Run `pip install 'flwr-byzantine[lab]'`. {OTHERWISE} to run without Ray."
        raise wrong("engine", f"{INLINE!r} if Ray is not installed", engine, advice)
    if engine == RAY:
        require_cluster()


def run_cells(
    serve: Serve,
    app: ClientApp,
    configs: Sequence[Mapping[str, Any]],
    clients: int,
    *,
    engine: str = INLINE,
    at_once: int | None = None,
    verbose: bool = False,
) -> None:
    """Serve several runs of an app, one after the other. In each run, nodes begin with an empty state.

    On both engines, nodes have the ids 1 to n and the partition-ids 0 to n - 1.

    Parameters
    ----------
    serve : Callable
        ``serve(number, grid)`` is the server's half of a run.
    app : flwr.clientapp.ClientApp
        What every node runs.
    configs : Sequence[Mapping[str, Any]]
        The run configuration of each run.
    clients : int
        The number of nodes.
    engine : str
        With ``inline``, the nodes work in this process, one after the other. With ``ray``, several nodes work
        at once.
    at_once : int or None
        With Ray, how many nodes work at once. None means as many as there are cores.
    verbose : bool
        Whether to show what Ray logs.

    Raises
    ------
    Exception
        What ``serve`` raises. If the engine fails, a RuntimeError or OSError.
    """
    if engine == RAY:
        run_on_ray(serve, app, configs, clients, at_once=at_once, verbose=verbose)
        return
    as_running_task()
    for number, config in enumerate(configs):
        serve(number, InProcessGrid(app, clients, config))
