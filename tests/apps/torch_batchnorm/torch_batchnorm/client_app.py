"""A network with BatchNorm, trained with torch."""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from torch_batchnorm.data import partition
from torch_batchnorm.model import Net

app = ClientApp()


def load(message, context):
    net = Net()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict(), strict=True)
    config = context.node_config
    x, y = partition(config["partition-id"], config["num-partitions"])
    return net, torch.from_numpy(x), torch.from_numpy(y)


@app.train()
def train(message, context):
    net, x, y = load(message, context)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=context.run_config["learning-rate"])
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(context.run_config["local-steps"]):
        batch = torch.randint(len(y), (32,))
        optimizer.zero_grad()
        loss = loss_of(net(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
    metrics = {"train_loss": loss.item(), "num-examples": len(y)}
    content = {"arrays": ArrayRecord(net.state_dict()), "metrics": MetricRecord(metrics)}
    return Message(content=RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate(message, context):
    net, x, y = load(message, context)
    net.eval()
    with torch.no_grad():
        scores = net(x)
    metrics = {
        "eval_loss": torch.nn.functional.cross_entropy(scores, y).item(),
        "eval_acc": (scores.argmax(1) == y).float().mean().item(),
        "num-examples": len(y),
    }
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
