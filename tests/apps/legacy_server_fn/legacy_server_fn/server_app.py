"""A server function with FedAvg, a weighted average of accuracies, and an evaluation of its own."""

from flwr.common import Context, Metrics, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg

from legacy_server_fn.data import test_split
from legacy_server_fn.softmax import first, scores


def weighted_average(metrics: list[tuple[int, Metrics]]) -> Metrics:
    total = sum(n for n, _ in metrics)
    return {"accuracy": sum(n * m["accuracy"] for n, m in metrics) / total}


def evaluate(server_round, parameters, config):
    loss, accuracy = scores(parameters, *test_split())
    return loss, {"centralized_accuracy": accuracy}


def server_fn(context: Context):
    strategy = FedAvg(
        fraction_fit=context.run_config["fraction-fit"],
        evaluate_metrics_aggregation_fn=weighted_average,
        evaluate_fn=evaluate,
        initial_parameters=ndarrays_to_parameters(first()),
    )
    rounds = context.run_config["num-server-rounds"]
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=rounds))


app = ServerApp(server_fn=server_fn)
