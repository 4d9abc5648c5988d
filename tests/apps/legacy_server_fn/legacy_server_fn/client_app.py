"""A NumPyClient."""

import numpy as np
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import Context

from legacy_server_fn.data import partition
from legacy_server_fn.softmax import scores, trained


class FlowerClient(NumPyClient):
    """Trains on batches without a seed."""

    def __init__(self, data, steps):
        self.data, self.steps = data, steps

    def fit(self, parameters, config):
        model = trained(parameters, *self.data, self.steps, np.random.default_rng())
        return model, len(self.data[1]), {"lr": 0.5}

    def evaluate(self, parameters, config):
        loss, accuracy = scores(parameters, *self.data)
        return loss, len(self.data[1]), {"accuracy": accuracy}


def client_fn(context: Context):
    config = context.node_config
    data = partition(config["partition-id"], config["num-partitions"])
    return FlowerClient(data, context.run_config["local-steps"]).to_client()


app = ClientApp(client_fn=client_fn)
