"""No strategy: a loop that averages by hand, and nodes that report several metrics."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import ServerApp

from raw_loop.softmax import first

app = ServerApp()


def ask(grid, kind, arrays, server_round):
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"round": server_round})})
    messages = [
        Message(content, dst_node_id=node, message_type=kind, group_id=str(server_round))
        for node in grid.get_node_ids()
    ]
    replies = grid.send_and_receive(messages, timeout=600)
    return [reply.content for reply in replies if reply.has_content()]


@app.main()
def main(grid, context):
    arrays = ArrayRecord(first())
    for server_round in range(1, context.run_config["num-rounds"] + 1):
        replies = ask(grid, MessageType.TRAIN, arrays, server_round)
        counts = np.array([reply["metrics"]["num-examples"] for reply in replies], float)
        shares = counts / counts.sum()
        arrays = ArrayRecord(
            {
                key: Array(
                    np.sum(
                        [
                            s * r["arrays"][key].numpy()
                            for s, r in zip(shares, replies, strict=True)
                        ],
                        axis=0,
                    ).astype(np.float32)
                )
                for key in arrays
            }
        )
        reports = ask(grid, MessageType.EVALUATE, arrays, server_round)
        print(server_round, np.mean([report["metrics"]["accuracy"] for report in reports]))
