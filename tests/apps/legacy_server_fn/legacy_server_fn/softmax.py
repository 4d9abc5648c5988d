"""Softmax regression with numpy."""

import numpy as np


def probabilities(model, x):
    logits = x @ model[0] + model[1]
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def trained(model, x, y, steps, rng):
    w, b = (np.array(part, np.float32) for part in model)
    for _ in range(steps):
        batch = rng.integers(len(y), size=32)
        error = probabilities((w, b), x[batch]) - np.eye(10, dtype=np.float32)[y[batch]]
        w -= 0.5 * x[batch].T @ error / 32
        b -= 0.5 * error.mean(axis=0)
    return [w, b]


def scores(model, x, y):
    p = probabilities(model, x)
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()
    return float(loss), float((p.argmax(axis=1) == y).mean())


def first():
    return [np.zeros((64, 10), np.float32), np.zeros(10, np.float32)]
