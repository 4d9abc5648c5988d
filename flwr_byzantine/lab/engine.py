"""The two engines that runs of an app go on: this process, or Flower's Ray engine."""

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
    """Raise unless an engine is one of ours and can be started, or is there."""
    require(engine in ENGINES, "engine", " or ".join(map(repr, ENGINES)), engine, OTHERWISE + ".")
    if engine == RAY and find_spec("ray") is None:
        advice = f"Run `pip install 'flwr-byzantine[lab]'`. {OTHERWISE} to do without."
        raise wrong("engine", f"{INLINE!r} where Ray is not installed", engine, advice)
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
    """Serve several runs of an app one after the other, each with nodes that remember nothing.

    Nodes have the ids 1 to n and the partition-ids 0 to n - 1, whatever the engine.

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
        ``inline``: the nodes work in this process, one after the other. ``ray``: several work at once.
    at_once : int or None
        With Ray, how many nodes work at once; None takes as many as there are cores.
    verbose : bool
        Whether what Ray logs is shown.

    Raises
    ------
    Exception
        What ``serve`` raises; a RuntimeError or OSError if the engine fails.
    """
    if engine == RAY:
        run_on_ray(serve, app, configs, clients, at_once=at_once, verbose=verbose)
        return
    as_running_task()
    for number, config in enumerate(configs):
        serve(number, InProcessGrid(app, clients, config))
