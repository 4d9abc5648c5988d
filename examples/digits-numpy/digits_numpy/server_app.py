"""What the server does."""

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits_numpy.task import initial_model, load, test

app = ServerApp()


def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
    """Evaluate the global model on samples that no node has."""
    _, data = load()
    loss, accuracy = test(arrays.to_numpy_ndarrays(), data)
    return MetricRecord({"loss": loss, "accuracy": accuracy})


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train with all nodes that are connected."""
    strategy = FedAvg(fraction_evaluate=0.0)
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(initial_model()),
        num_rounds=int(context.run_config["num-server-rounds"]),
        timeout=float(context.run_config["round-timeout"]),
        evaluate_fn=evaluate,
    )
    accuracy = [metrics["accuracy"] for metrics in result.evaluate_metrics_serverapp.values()]
    print("accuracy after each round:", " ".join(f"{value:.3f}" for value in accuracy))
