"""A loss with a known gradient and minimum."""

import numpy as np


class Quadratic:
    """L(w) = 1/2 sum of c_j (w_j - a_j)^2 of a model's first tensor. Other tensors have no gradient."""

    def __init__(self, minimiser, curvature=1.0, noise=0.0, seed=0):
        self.minimiser, self.curvature = np.asarray(minimiser, np.float64), curvature
        self.noise, self.rng = noise, np.random.default_rng(seed)
        self.calls = []

    def gradient(self, w):
        return self.curvature * (w - self.minimiser)

    def __call__(self, parameters, server_round):
        self.calls.append(server_round)
        noise = self.noise * self.rng.normal(size=self.minimiser.shape)
        return [self.gradient(parameters[0]) + noise, *[None] * (len(parameters) - 1)]

    def loss(self, parameters, server_round):
        return float((self.curvature * (parameters[0] - self.minimiser) ** 2).sum() / 2)
