"""What a node does."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from digits_numpy.attackers import honest_or_not
from digits_numpy.task import Split, load_partition, test, train
from flwr_byzantine.clients import attack_mod

app = ClientApp(mods=[attack_mod(honest_or_not)])


def partition(context: Context) -> Split:
    """Load the samples that this node's configuration names."""
    config = context.node_config
    return load_partition(int(config["partition-id"]), int(config["num-partitions"]))


@app.train()
def train_message(message: Message, context: Context) -> Message:
    """Train the model of the message on this node's samples."""
    config, data = context.run_config, partition(context)
    model = train(
        message.content["arrays"].to_numpy_ndarrays(),
        data,
        epochs=int(config["local-epochs"]),
        learning_rate=float(config["learning-rate"]),
        seed=int(message.content["config"]["server-round"]),
    )
    names = message.content["arrays"]
    content = {
        "arrays": ArrayRecord({n: Array(t) for n, t in zip(names, model, strict=True)}),
        "metrics": MetricRecord({"num-examples": len(data[1])}),
    }
    return Message(RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate_message(message: Message, context: Context) -> Message:
    """Evaluate the model of the message on this node's samples."""
    data = partition(context)
    loss, accuracy = test(message.content["arrays"].to_numpy_ndarrays(), data)
    metrics = {"loss": loss, "accuracy": accuracy, "num-examples": len(data[1])}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
