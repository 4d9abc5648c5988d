"""Runs federations on Flower's Ray engine, or in this process.

Clients depend only on (seed, client, round). So both engines give the same models, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flwr.app import Context
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from flwr_byzantine.clients import serve_both_apis
from flwr_byzantine.lab.engine import INLINE, RAY, run_cells
from flwr_byzantine.lab.in_process import server_context
from flwr_byzantine.lab.kept import Record
from flwr_byzantine.lab.simulation import silent
from simulations.catalog import datasets
from simulations.config import RunConfig
from simulations.federation.fitting import check_fits
from simulations.federation.population import client
from simulations.federation.server import serve
from simulations.measure.recording import OnRound, Recorder

CELL = "cell"  # the key of the run configuration that holds the number of the run

OnCellRound = Callable[[int, Record], None]
OnCell = Callable[[int, Record | Exception], None]


def run(config: RunConfig, on_round: OnRound | None = None, verbose: bool = False) -> Record:
    """Run one federation and return its result.

    Parameters
    ----------
    config : RunConfig
        The run.
    on_round : callable, optional
        It is called with the record of each round as soon as it is there.
    verbose : bool (default: False)
        Show what Flower logs.

    Returns
    -------
    dict
        ``config``, ``rounds``, ``final_accuracy``, ``parameters_sha256`` and more.

    Raises
    ------
    Exception
        The error that made the run fail.
    """
    of_the_run = None if on_round is None else lambda _, record: on_round(record)
    (result,) = run_all([config], of_the_run, verbose=verbose)
    if isinstance(result, Exception):
        raise result
    return result


def run_all(
    configs: Sequence[RunConfig],
    on_round: OnCellRound | None = None,
    on_cell: OnCell | None = None,
    verbose: bool = False,
    inline: bool = False,
) -> list[Record | Exception]:
    """Run several federations, one after the other, starting the engine once.

    The models do not depend on the engine.

    Parameters
    ----------
    configs : sequence of RunConfig
        The runs, all with the same number of clients.
    on_round : callable, optional
        It is called with the number of the run and the record of each of its rounds.
    on_cell : callable, optional
        It is called with the number of each finished run and its result, or the exception that ended it.
    verbose : bool (default: False)
        Show what Flower logs.
    inline : bool (default: False)
        Run the clients in this process instead of Ray's. It is faster if many federations run at once.

    Returns
    -------
    list of dict or Exception
        One for each run. A run that fails does not stop the others.
    """
    numbers = {config.clients for config in configs}
    if len(numbers) != 1:
        raise ValueError(
            "Parameter `configs` should hold runs with the same number of clients. "
            f"Found {sorted(numbers)}. Call `run_all` once for each number."
        )
    for config in configs:
        datasets.prepare(config.dataset, config.data_dir, config.download)
    results: list[Record | Exception] = []

    def serve_cell(cell: int, grid: Grid) -> None:
        results.append(_attempt(grid, configs[cell], cell, on_round))
        if on_cell is not None:
            on_cell(cell, results[-1])

    (clients,) = numbers
    numbered = [{CELL: cell} for cell in range(len(configs))]
    engine = INLINE if inline else RAY
    with silent(verbose):
        run_cells(
            serve_cell, _client_app(configs), numbered, clients, engine=engine, verbose=verbose
        )
    return results


def _attempt(
    grid: Grid, config: RunConfig, cell: int, on_round: OnCellRound | None
) -> Record | Exception:
    """Return the result of a run, or the exception that ended it."""
    of_this_cell = None if on_round is None else lambda record: on_round(cell, record)
    try:
        check_fits(config)
        recorder = Recorder(config, of_this_cell)
        serve(grid, server_context(), config, recorder)
        return recorder.result()
    except InterruptedError:
        raise
    except Exception as error:
        return error


def _client_app(configs: Sequence[RunConfig]) -> ClientApp:
    """Return an app whose clients take part in the run with the number in their configuration."""
    cells = tuple(configs)

    def client_fn(context: Context) -> Client:
        config = cells[int(context.run_config[CELL])]
        return client(config, int(context.node_config["partition-id"]), context).to_client()

    return ClientApp(client_fn=client_fn, mods=[serve_both_apis])
