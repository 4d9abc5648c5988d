"""Flower's strategies, made robust: an adapter to each of Flower's APIs, and the strategies of both."""
