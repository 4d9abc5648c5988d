"""Flower's simulation engine: how to start it, set it up, keep it quiet, and interrupt it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from flwr_byzantine.lab.prompt_grid import PromptGrid

PATIENCE = 10.0  # seconds in which the server has to end after it is told to end

Serve = Callable[[PromptGrid, Context], None]


def simulate(
    serve: Serve, app: ClientApp, clients: int, verbose: bool = False, at_once: int | None = None
) -> None:
    """Run a server function in a Ray-backed simulation of Flower.

    Parameters
    ----------
    serve : Callable
        It is called with the grid and the context of the ServerApp, as soon as all nodes are there.
    app : flwr.clientapp.ClientApp
        What every node runs.
    clients : int
        The number of nodes.
    verbose : bool
        Whether to show what Flower logs.
    at_once : int or None
        How many nodes work at once. None means as many as there are cores.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C.
    Exception
        What the server function raises, or a RuntimeError if the engine fails.
    """
    from flwr.simulation import run_simulation

    stopped, begun, ended = threading.Event(), threading.Event(), threading.Event()

    def main(grid: Grid, context: Context) -> None:
        begun.set()
        try:
            prompt = PromptGrid(grid, stopped)
            prompt.wait_for_nodes(clients)
            serve(prompt, context)
        finally:
            ended.set()

    server_app = ServerApp()
    server_app.main()(main)
    with engine(verbose, min(clients, at_once or clients)) as config, interruptible(stopped):
        try:
            run_simulation(server_app, app, clients, backend_config=config)
        except InterruptedError:
            raise KeyboardInterrupt from None
        finally:
            stopped.set()
            if begun.is_set():
                ended.wait(PATIENCE)


def cores() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


@contextmanager
def interruptible(stopped: threading.Event) -> Iterator[None]:
    """Let Ctrl-C stop the server first, and then the engine.

    If Ctrl-C interrupted the engine anywhere else, its threads would wait for each other forever. A second
    Ctrl-C acts as usual.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def silent(verbose: bool) -> Iterator[None]:
    """Keep Flower from logging, unless ``verbose``."""
    logger = logging.getLogger("flwr")
    level = logger.level
    if not verbose:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Hide what Flower and an app log and print, unless ``verbose``."""
    if verbose:
        yield
        return
    with (
        silent(verbose),
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


@contextmanager
def engine(verbose: bool, at_once: int) -> Iterator[dict[str, Any]]:
    """Yield the engine's settings: one CPU per client, and a new Ray on this machine.

    With ``RAY_ADDRESS`` set, the runs go to that cluster instead.
    """
    # The path is short because Ray makes unix sockets below it. Their names have at most about 100 bytes.
    scratch = tempfile.mkdtemp(prefix="fb-", dir="/tmp" if Path("/tmp").is_dir() else None)
    init_args: dict[str, Any] = {"log_to_driver": verbose}
    if not os.environ.get("RAY_ADDRESS"):
        init_args["address"] = "local"
        init_args["num_cpus"] = min(cores(), at_once)
        init_args["_temp_dir"] = os.environ.get("RAY_TMPDIR", scratch)
    try:
        with silent(verbose), warnings.catch_warnings():
            if not verbose:  # Ray's warnings of future versions
                warnings.filterwarnings("ignore", category=FutureWarning, module=r"ray\.")
            yield {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": init_args}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
