"""Logistic regression of scikit-learn, in float64."""

import warnings

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.metrics import log_loss

from sklearn_logistic.data import partition
from sklearn_logistic.task import get_params, make, set_params

app = ClientApp()


def prepared(msg: Message, context: Context):
    model = make(context.run_config["penalty"], context.run_config["local-epochs"])
    set_params(model, msg.content["arrays"].to_numpy_ndarrays())
    config = context.node_config
    return model, *partition(config["partition-id"], config["num-partitions"])


@app.train()
def train(msg: Message, context: Context):
    model, x, y = prepared(msg, context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, y)
    arrays = ArrayRecord(get_params(model))
    metrics = MetricRecord(
        {
            "num-examples": len(y),
            "train_logloss": log_loss(y, model.predict_proba(x), labels=range(10)),
        }
    )
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context):
    model, x, y = prepared(msg, context)
    metrics = {"num-examples": len(y), "accuracy": float(model.score(x, y))}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
