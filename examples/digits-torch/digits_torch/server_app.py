"""What the server does."""

from flwr.app import Context
from flwr.common import NDArrays, Scalar, ndarrays_to_parameters
from flwr.server import ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.serverapp import ServerApp

from digits_torch.task import get_weights, load, make_model, set_weights, test


def evaluate(
    server_round: int, weights: NDArrays, config: dict[str, Scalar]
) -> tuple[float, dict[str, Scalar]]:
    """Evaluate the global model on samples that no node has."""
    model = make_model()
    set_weights(model, weights)
    loss, accuracy = test(model, load()[1])
    return loss, {"accuracy": accuracy}


def server_fn(context: Context) -> ServerAppComponents:
    """Train with all nodes that are connected."""
    strategy = FedAvg(
        fraction_evaluate=0.0,
        initial_parameters=ndarrays_to_parameters(get_weights(make_model())),
        on_fit_config_fn=lambda server_round: {"server-round": server_round},
        evaluate_fn=evaluate,
    )
    config = ServerConfig(
        num_rounds=int(context.run_config["num-server-rounds"]),
        round_timeout=float(context.run_config["round-timeout"]),
    )
    return ServerAppComponents(strategy=strategy, config=config)


app = ServerApp(server_fn=server_fn)
