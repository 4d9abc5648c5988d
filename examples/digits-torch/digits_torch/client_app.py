"""What a node does."""

from flwr.app import Context
from flwr.client import Client, NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import NDArrays, Scalar

from digits_torch.attackers import honest_or_not
from digits_torch.task import get_weights, load_partition, make_model, set_weights, test, train


class DigitsClient(NumPyClient):
    """Trains and evaluates on the samples of one node."""

    def __init__(
        self, partition_id: int, num_partitions: int, epochs: int, learning_rate: float
    ) -> None:
        self.data = load_partition(partition_id, num_partitions)
        self.model = make_model()
        self.epochs, self.learning_rate = epochs, learning_rate

    def fit(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Train the received model."""
        set_weights(self.model, parameters)
        train(self.model, self.data, self.epochs, self.learning_rate, int(config["server-round"]))
        return get_weights(self.model), len(self.data), {}

    def evaluate(
        self, parameters: NDArrays, config: dict[str, Scalar]
    ) -> tuple[float, int, dict[str, Scalar]]:
        """Evaluate the received model."""
        set_weights(self.model, parameters)
        loss, accuracy = test(self.model, self.data)
        return loss, len(self.data), {"accuracy": accuracy}


def client_fn(context: Context) -> Client:
    """Build the client of this node."""
    node, run = context.node_config, context.run_config
    number = int(node["partition-id"])
    honest = DigitsClient(
        number,
        int(node["num-partitions"]),
        int(run["local-epochs"]),
        float(run["learning-rate"]),
    )
    return honest_or_not(honest, number, run).to_client()


app = ClientApp(client_fn=client_fn)
