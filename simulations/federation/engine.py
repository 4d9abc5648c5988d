"""Flower's simulation engine: its settings, its silence, and how to interrupt it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


def cores() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


@contextmanager
def interruptible(stopped: threading.Event) -> Iterator[None]:
    """Let Ctrl-C stop the server, and with it the engine, in good order.

    Interrupted anywhere else, the engine's threads would wait for each other for good. A second
    Ctrl-C is the usual one.
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
def quiet(verbose: bool) -> Iterator[None]:
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
def engine(verbose: bool, clients: int) -> Iterator[dict[str, Any]]:
    """Yield the engine's settings: one CPU per client, and a Ray of its own.

    With ``RAY_ADDRESS`` set, the runs go to that cluster instead.
    """
    # A short path: Ray puts unix sockets below it, whose names are limited to about 100 bytes.
    scratch = tempfile.mkdtemp(prefix="fb-", dir="/tmp" if Path("/tmp").is_dir() else None)
    init_args: dict[str, Any] = {"log_to_driver": verbose}
    if not os.environ.get("RAY_ADDRESS"):
        init_args["address"] = "local"
        init_args["num_cpus"] = min(cores(), clients)
        init_args["_temp_dir"] = os.environ.get("RAY_TMPDIR", scratch)
    try:
        with quiet(verbose):
            yield {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": init_args}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
