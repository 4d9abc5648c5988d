"""The server: a trimmed mean in either of Flower's APIs."""

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.common import NDArrays, Scalar, ndarrays_to_parameters
from flwr.server import Server, ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.serverapp import Grid, ServerApp

import flwr_byzantine
import flwr_byzantine.serverapp
from clients.digits import evaluate, initial_model, load

PATIENCE = 120.0  # seconds in which all nodes have to connect

app = ServerApp()


class Accuracy:
    """Writes the accuracy after each round to a file, which can be read while the run goes on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "accuracy.json"
        self.x, self.y = load(folder / "test.npz")
        self.values: dict[int, float] = {}

    def __call__(self, server_round: int, model: NDArrays) -> tuple[float, float]:
        """Evaluate a model on the server's own samples."""
        loss, accuracy = evaluate(model, self.x, self.y)
        self.values[server_round] = accuracy
        self.path.write_text(json.dumps(self.values))
        return loss, accuracy


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Wait for all nodes, and train."""
    config = context.run_config
    end = time.monotonic() + PATIENCE
    while len(list(grid.get_node_ids())) < int(config["nodes"]):
        if time.monotonic() > end:
            raise TimeoutError(f"Not all of {config['nodes']} nodes connected in {PATIENCE:.0f} s")
        time.sleep(0.5)
    serve = {"message": serve_message, "legacy": serve_legacy}[str(config["api"])]
    serve(grid, context, Accuracy(Path(str(config["folder"]))))


def serve_message(grid: Grid, context: Context, accuracy: Accuracy) -> None:
    """Train with the Message API."""
    config, folder = context.run_config, Path(str(context.run_config["folder"]))
    strategy = flwr_byzantine.serverapp.TrimmedMean(
        num_malicious_nodes=int(config["assumed-byzantine"]),
        audit_log=folder / "audit.jsonl",
        fraction_evaluate=0.0,
    )

    def evaluate_fn(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        loss, value = accuracy(server_round, arrays.to_numpy_ndarrays())
        return MetricRecord({"loss": loss, "accuracy": value})

    strategy.start(
        grid,
        ArrayRecord(initial_model()),
        num_rounds=int(config["rounds"]),
        timeout=float(config["round-timeout"]),
        evaluate_fn=evaluate_fn,
    )


def serve_legacy(grid: Grid, context: Context, accuracy: Accuracy) -> None:
    """Train with the `aggregate_fit` API."""
    config, folder = context.run_config, Path(str(context.run_config["folder"]))

    def evaluate_fn(
        server_round: int, arrays: NDArrays, _: dict[str, Scalar]
    ) -> tuple[float, dict[str, Scalar]]:
        loss, value = accuracy(server_round, arrays)
        return loss, {"accuracy": value}

    strategy = flwr_byzantine.TrimmedMean(
        num_malicious_clients=int(config["assumed-byzantine"]),
        audit_log=folder / "audit.jsonl",
        fraction_evaluate=0.0,
        initial_parameters=ndarrays_to_parameters(initial_model()),
        on_fit_config_fn=lambda server_round: {"server-round": server_round},
        evaluate_fn=evaluate_fn,
    )
    server = Server(client_manager=SimpleClientManager(), strategy=strategy)
    server.set_max_workers(int(config["nodes"]))  # each thread waits for one reply
    rounds, timeout = int(config["rounds"]), float(config["round-timeout"])
    components = ServerAppComponents(
        server=server, config=ServerConfig(num_rounds=rounds, round_timeout=timeout)
    )
    ServerApp(server_fn=lambda _: components)(grid, context)
