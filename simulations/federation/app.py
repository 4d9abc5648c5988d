"""The Flower App: what ``flwr run .`` starts, on simulated or real SuperNodes."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

from flwr.app import Context
from flwr.client import Client
from flwr.clientapp import ClientApp
from flwr.common import log
from flwr.serverapp import Grid, ServerApp

from flwr_byzantine.clients import serve_both_apis
from simulations.catalog import datasets
from simulations.config import RunConfig
from simulations.federation.fitting import check_fits
from simulations.federation.meant import check_meant
from simulations.federation.population import client
from simulations.federation.server import serve
from simulations.measure.recording import SUCCESS, Recorder
from simulations.measure.results import check_free, save

OWN = ("out", "overwrite")  # settings of the app that have no effect on the run's result


@lru_cache(maxsize=8)
def _read(options: frozenset[tuple[str, bool | int | float | str]]) -> RunConfig:
    return RunConfig.from_options({name: value for name, value in options if name not in OWN})


def read_config(context: Context) -> RunConfig:
    """Return the run that ``[tool.flwr.app.config]`` and ``--run-config`` describe."""
    return _read(frozenset(context.run_config.items()))


def client_fn(context: Context) -> Client:
    """Build the client of this SuperNode."""
    client_id = int(context.node_config["partition-id"])
    return client(read_config(context), client_id, context).to_client()


client_app = ClientApp(client_fn=client_fn, mods=[serve_both_apis])
server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve one run. If ``out`` is set, write the result into that folder."""
    config = read_config(context)
    out = str(context.run_config.get("out", ""))
    if out:  # if the folder is not writable, the run ends before it begins
        Path(out).mkdir(parents=True, exist_ok=True)
        check_free(Path(out), bool(context.run_config.get("overwrite", False)))
    datasets.prepare(config.dataset, config.data_dir, config.download)
    check_meant(config)
    check_fits(config)
    recorder = Recorder(config)
    serve(grid, context, config, recorder)
    result = recorder.result()
    log(logging.INFO, "Final accuracy: %.4f", result["final_accuracy"])
    if (rate := result.get(f"final_{SUCCESS}")) is not None:
        log(logging.INFO, "Attack success rate: %.4f", rate)
    if out:
        log(logging.INFO, "Result: %s", save(result, Path(out)))
