"""Flower's FedAvg. Nodes always evaluate, and the server does if it is told to."""

import torch
from flwr.app import ArrayRecord, MetricRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from torch_loader.data import testloader
from torch_loader.model import make

app = ServerApp()


def evaluate(server_round, arrays):
    net = make()
    net.load_state_dict(arrays.to_torch_state_dict())
    loader, right = testloader(), 0
    with torch.no_grad():
        for batch in loader:
            right += int((net(batch["image"]).argmax(1) == batch["label"]).sum())
    return MetricRecord({"accuracy": right / len(loader.dataset)})


@app.main()
def main(grid, context):
    config = context.run_config
    FedAvg(fraction_train=1.0).start(
        grid=grid,
        initial_arrays=ArrayRecord(make().state_dict()),
        num_rounds=config["num-server-rounds"],
        evaluate_fn=evaluate if config["server-evaluates"] else None,
    )
