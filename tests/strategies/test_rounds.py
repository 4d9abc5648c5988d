"""What a round says: who failed, what users' functions see, and under which names."""

import numpy as np
from flower import Sent, every_api
from flwr.app import MetricRecord

SHARED = "byzantine/"


@every_api
def test_our_metrics_have_one_prefix_and_the_users_theirs(api):
    def own(*arguments):
        return {"num_received": -1.0} if api.name == "fit" else MetricRecord({"num_received": -1.0})

    word = "fit_metrics_aggregation_fn" if api.name == "fit" else "train_metrics_aggr_fn"
    strategy = api.ours.MultiKrum(**{api.f_name: 1, word: own})
    replies = [api.reply(Sent(i, [np.full(3, float(i))])) for i in range(6)]
    _, metrics = api.aggregate(strategy, replies)
    assert metrics.pop("num_received") == -1
    assert {name for name in metrics if not name.startswith(SHARED)} == set()
    assert metrics[SHARED + "num_received"] == 6
