"""Apps of a few lines, written to a folder."""

from __future__ import annotations

from pathlib import Path

TASK = """
import numpy as np
NAME = "{name}"
def model():
    return [np.zeros(4, np.float32)]
def step(arrays):
    return [array + 1 for array in arrays]
"""
CLIENT = """
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
app = ClientApp()

@app.train()
def train(message, context):
    from {package}.task import step
    {train}
    metrics = MetricRecord({{"num-examples": 1}})
    arrays = ArrayRecord(step(message.content["arrays"].to_numpy_ndarrays()))
    return Message(RecordDict({{"arrays": arrays, "metrics": metrics}}), reply_to=message)

@app.evaluate()
def evaluate(message, context):
    value = float(message.content["arrays"].to_numpy_ndarrays()[0].mean())
    number = int(context.node_config["partition-id"])
    metrics = MetricRecord({{"accuracy": value, "number": number, "num-examples": 1}})
    return Message(RecordDict({{"metrics": metrics}}), reply_to=message)
"""
SERVER = """
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
app = ServerApp()
{top}

@app.main()
def main(grid, context):
    from {package}.task import NAME, model
    rounds = context.run_config["num-rounds"]
    found = FedAvg().start(grid, ArrayRecord(model()), rounds)
    {end}
"""
PROJECT = """
[project]
name = "{name}"
version = "1.0.0"

[tool.flwr.app]
publisher = "somebody"

[tool.flwr.app.components]
serverapp = "{package}.server:app"
clientapp = "{package}.client:app"

[tool.flwr.app.config]
num-rounds = 1
"""


def small_app(
    folder, name="small", package="tiny", *, train="pass", end="pass", top="", below="", more=""
):
    """The folder of an app that adds one in each round, and whose accuracy is the mean of its model.

    ``train`` holds lines of its nodes, ``end`` lines at the end of its server, and ``top`` lines of its
    server's module. ``below`` is the folder of its package. ``more`` is the end of its ``pyproject.toml``.
    """
    folder = Path(folder)
    place = folder / below / package
    place.mkdir(parents=True, exist_ok=True)
    words = {"name": name, "package": package, "train": train, "end": end, "top": top}
    (folder / "pyproject.toml").write_text(PROJECT.format(**words) + more)
    (place / "__init__.py").touch()
    for part, text in (("task", TASK), ("client", CLIENT), ("server", SERVER)):
        (place / f"{part}.py").write_text(text.format(**words))
    return folder
