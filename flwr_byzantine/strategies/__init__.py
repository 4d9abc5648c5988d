"""Flower's strategies, made robust: two thin adapters to its APIs, and the classes declared on them."""
