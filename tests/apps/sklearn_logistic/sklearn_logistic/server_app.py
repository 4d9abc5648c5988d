"""FedAvg that samples half of the nodes to evaluate."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from sklearn_logistic.task import get_params, make

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    model = make(context.run_config["penalty"], 1)
    FedAvg(fraction_evaluate=0.5).start(
        grid=grid,
        initial_arrays=ArrayRecord(get_params(model)),
        num_rounds=context.run_config["num-server-rounds"],
    )
