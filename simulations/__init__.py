"""Simulated federations with misbehaving clients: a Flower App, a command line, experiments.

Importing any of its modules first sets the environment variables of `simulations.environment`,
which Flower, Ray and numpy read at import.
"""

from simulations.environment import set_defaults

set_defaults()
