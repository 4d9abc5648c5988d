"""AttackGrid and AttackStrategy: what the wrappers send, to the last bit, and who sends it."""

import numpy as np
import pytest
from flower import Proxy
from flwr.app import ArrayRecord, Context
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerAppComponents, ServerConfig, SimpleClientManager
from flwr.server.strategy import FedAvg as FitFedAvg
from flwr.serverapp import ServerApp as _  # noqa: F401
from flwr.serverapp.strategy import FedAvg
from grids import AnsweringGrid, answer_with, honest, train_messages, START

from flwr_byzantine import ByzantineRobust
from flwr_byzantine.attacks import *  # noqa: F403
from flwr_byzantine import attacks, rules
from flwr_byzantine.clients import (
    AttackSchedule,
    ColludingClient,
    CorruptedChannelClient,
    MaliciousClient,
    OmniscientClient,
    serve_both_apis,
)
from flwr_byzantine.lab import AttackGrid, AttackStrategy
from flwr_byzantine.serverapp import RobustGrid
from simulations.federation.inline import InlineGrid
