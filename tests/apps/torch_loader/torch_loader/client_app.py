"""Trains with torch's loader; evaluates on its own samples."""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from torch_loader.data import trainloader
from torch_loader.model import make

app = ClientApp()


def load(message, context):
    net = make()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    config = context.node_config
    return net, trainloader(config["partition-id"], config["num-partitions"])


@app.train()
def train(message, context):
    net, loader = load(message, context)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(context.run_config["local-epochs"]):
        for batch in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(batch["image"]), batch["label"])
            loss.backward()
            optimizer.step()
    content = {
        "arrays": ArrayRecord(net.state_dict()),
        "metrics": MetricRecord({"train_loss": loss.item(), "num-examples": len(loader.dataset)}),
    }
    return Message(content=RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate(message, context):
    net, loader = load(message, context)
    right = 0
    with torch.no_grad():
        for batch in loader:
            right += int((net(batch["image"]).argmax(1) == batch["label"]).sum())
    metrics = {"eval_acc": right / len(loader.dataset), "num-examples": len(loader.dataset)}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
