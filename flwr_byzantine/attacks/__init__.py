"""What Byzantine clients and broken channels send: the attacks of the papers, as pure functions.

An attack is a frozen dataclass that is called like a function. It knows only what it is given:

- a *local* attack maps the client's own update: ``attack(own, rng)``;
- *data poisoning* maps the client's labels: ``attack(labels)``; or its samples too:
  ``attack(samples, labels, rng)``;
- a *colluding* attack maps the honest updates its clients know, all of them or only their own:
  ``attack(honest, num_attackers, rng)``, one row for each attacker;
- attackers that know *models* map the global model of the round: ``attack(model, rng)``;
- a *channel* corrupts what any client transmits, an honest one too:
  ``attack(values, client, num_clients, server_round, seed)``.

`OnOff` goes around any of them: it says in which rounds the attack is on.

The signs are those for updates that will be averaged. The papers write gradients. An update is a
negative multiple of a gradient, and each formula here holds for both.
"""

from .backdoor import Backdoor
from .base import ChannelAttack, ColludingAttack, LocalAttack, ModelAttack, Remembering
from .bits import BitFlip
from .boost import Boost
from .far_from_mean import OneFarOneMean, PutAllFar
from .free_rider import FreeRider
from .gambler import Gambler
from .labels import LabelFlip, RandomLabels
from .little_is_enough import LittleIsEnough
from .mimic import Mimic
from .min_max import MinMax, MinSum
from .negative_mean import InnerProductManipulation, Omniscient
from .optimized import Optimized
from .own_update import Constant, Gaussian, RandomSignFlip, SignFlip
from .poisoned_fl import PoisonedFL
from .schedule import OnOff

__all__ = [
    "Backdoor",
    "BitFlip",
    "Boost",
    "ChannelAttack",
    "ColludingAttack",
    "Constant",
    "FreeRider",
    "Gambler",
    "Gaussian",
    "InnerProductManipulation",
    "LabelFlip",
    "LittleIsEnough",
    "LocalAttack",
    "Mimic",
    "MinMax",
    "MinSum",
    "ModelAttack",
    "Omniscient",
    "OnOff",
    "OneFarOneMean",
    "Optimized",
    "PoisonedFL",
    "PutAllFar",
    "RandomLabels",
    "RandomSignFlip",
    "Remembering",
    "SignFlip",
]
