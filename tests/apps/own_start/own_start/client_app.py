"""Trains and evaluates."""

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from own_start.data import partition
from own_start.softmax import trained

app = ClientApp()


def data_of(context):
    config = context.node_config
    return partition(config["partition-id"], config["num-partitions"])


@app.train()
def train(message, context):
    x, y = data_of(context)
    model = message.content["arrays"].to_numpy_ndarrays()
    model = trained(model, x, y, context.run_config["local-steps"], np.random.default_rng())
    content = {
        "arrays": ArrayRecord(model),
        "metrics": MetricRecord({"num-examples": len(y)}),
    }
    return Message(RecordDict(content), reply_to=message)
