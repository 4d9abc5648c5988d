"""The server's side of a run, in both of Flower's APIs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord
from flwr.common import FitRes, NDArrays, Parameters, Scalar, ndarrays_to_parameters
from flwr.server import Server, ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.serverapp import Grid, ServerApp

from simulations.config import RunConfig
from simulations.federation.participation import (
    ask_some_clients,
    ask_some_nodes,
    client_numbers,
)
from simulations.federation.reputation import by_partition
from simulations.federation.strategies import build_strategy
from simulations.measure.detection import verdicts
from simulations.measure.recording import Recorder, initial_state

PATIENCE = 120.0  # seconds in which the SuperNodes of a run have to connect


def serve(grid: Grid, context: Context, config: RunConfig, recorder: Recorder) -> None:
    """Train for all rounds of a run.

    Parameters
    ----------
    grid : Grid
        The connection to the clients.
    context : Context
        The context of the ServerApp.
    config : RunConfig
        The run.
    recorder : Recorder
        Receives the model and the strategy's metrics after each round.

    Raises
    ------
    TimeoutError
        If the number of connected clients differs from that of the run.
    RuntimeError
        If all clients fail in a round.
    """
    wait_for_clients(grid, config.clients)
    {"message": _serve_message, "legacy": _serve_legacy}[config.api](
        grid, context, config, recorder
    )


def wait_for_clients(grid: Grid, clients: int, patience: float = PATIENCE) -> None:
    """Wait until exactly the expected number of clients is connected."""
    end = time.monotonic() + patience
    while (connected := len(list(grid.get_node_ids()))) != clients:
        if time.monotonic() > end or connected > clients:
            raise TimeoutError(
                f"Parameter `clients` should be the number of connected SuperNodes, {connected}. "
                f"Found `clients = {clients}`. With `flwr run`, pass "
                f"`--federation-config 'num-supernodes={clients}'`."
            )
        time.sleep(0.05)


def innermost(failure: object) -> str:
    """Return the first exception in the tracebacks of a client's failure."""
    text = str(failure)
    found = re.search(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*$", text, re.MULTILINE)
    return found[0] if found else text


def _require_success(server_round: int, succeeded: int, failures: Sequence[object]) -> None:
    """Raise if no client succeeded, because Flower itself would go on with the old model."""
    if not succeeded:
        reason = f"The first says: {innermost(failures[0])}" if failures else "None answered."
        raise RuntimeError(f"All clients failed in round {server_round}. {reason}")


def partitions_of_messages(replies: Iterable[Message]) -> dict[str, int]:
    """Return the nodes' ids, and the numbers that their clients report."""
    return {
        str(reply.metadata.src_node_id): int(str(metrics["partition-id"]))
        for reply in replies
        if reply.has_content()
        for metrics in reply.content.metric_records.values()
    }


def _serve_message(grid: Grid, context: Context, config: RunConfig, recorder: Recorder) -> None:
    strategy = build_strategy(config)
    if config.clients_per_round:
        ask_some_nodes(strategy, config, client_numbers(grid))
    aggregate = strategy.aggregate_train

    def aggregate_train(
        server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        replies = list(replies)
        failures = [reply.error.reason for reply in replies if reply.has_error()]
        _require_success(server_round, len(replies) - len(failures), failures)
        start = time.perf_counter()
        arrays, metrics = aggregate(server_round, replies)
        seconds = time.perf_counter() - start
        seen = by_partition(strategy, metrics, config.clients)
        seen |= verdicts(strategy, config, server_round, partitions_of_messages(replies))
        recorder.aggregated(seen, seconds, len(failures))
        return arrays, metrics

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
        result = recorder.evaluate(server_round, arrays.to_numpy_ndarrays())
        if result is None:
            return None
        return MetricRecord({"loss": result[0], "accuracy": result[1]})

    strategy.aggregate_train = aggregate_train
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial_state(config)),
        num_rounds=config.rounds,
        evaluate_fn=evaluate,
    )


def _serve_legacy(grid: Grid, context: Context, config: RunConfig, recorder: Recorder) -> None:
    def evaluate(
        server_round: int, arrays: NDArrays, _: dict[str, Scalar]
    ) -> tuple[float, dict[str, Scalar]] | None:
        result = recorder.evaluate(server_round, arrays)
        return None if result is None else (result[0], {"accuracy": result[1]})

    initial = [tensor.numpy() for tensor in initial_state(config).values()]
    strategy = build_strategy(
        config,
        initial_parameters=ndarrays_to_parameters(initial),
        on_fit_config_fn=lambda server_round: {"server-round": server_round},
        evaluate_fn=evaluate,
    )
    if config.clients_per_round:
        ask_some_clients(strategy, config, client_numbers(grid))
    aggregate = strategy.aggregate_fit

    def aggregate_fit(
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[Parameters | None, dict[str, Scalar]]:
        _require_success(server_round, len(results), failures)
        start = time.perf_counter()
        parameters, metrics = aggregate(server_round, results, failures)
        seconds = time.perf_counter() - start
        partitions = {str(proxy.cid): int(r.metrics["partition-id"]) for proxy, r in results}
        seen = by_partition(strategy, metrics, config.clients)
        seen |= verdicts(strategy, config, server_round, partitions)
        recorder.aggregated(seen, seconds, len(failures))
        return parameters, metrics

    strategy.aggregate_fit = aggregate_fit
    ServerApp(server_fn=lambda _: _components(strategy, config))(grid, context)


def _components(strategy: Any, config: RunConfig) -> ServerAppComponents:
    """Return a server with one thread for each client. Each thread only waits for its reply."""
    server = Server(client_manager=SimpleClientManager(), strategy=strategy)
    server.set_max_workers(config.clients)
    return ServerAppComponents(server=server, config=ServerConfig(num_rounds=config.rounds))
