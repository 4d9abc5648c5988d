"""The strategies of Flower's Message API (``aggregate_train``)."""

from flwr_byzantine.strategies.message import read_record, write_record
from flwr_byzantine.strategies.message_strategies import (
    Bulyan,
    ByGARS,
    ByGARSPlusPlus,
    ByzantineRobust,
    FedMedian,
    FedTrimmedAvg,
    FLTrust,
    Krum,
    Mean,
    Median,
    MultiBulyan,
    MultiKrum,
    Phocas,
    RobustFedAvg,
    TrimmedMean,
)

__all__ = [
    "Bulyan",
    "ByGARS",
    "ByGARSPlusPlus",
    "ByzantineRobust",
    "FLTrust",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "Mean",
    "Median",
    "MultiBulyan",
    "MultiKrum",
    "Phocas",
    "RobustFedAvg",
    "TrimmedMean",
    "read_record",
    "write_record",
]
