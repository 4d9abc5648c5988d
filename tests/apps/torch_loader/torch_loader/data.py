"""Digits as images, in loaders that yield dictionaries."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

TEST = 360


class Images(Dataset):
    """Images and labels by name."""

    def __init__(self, x, y):
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"image": self.x[i], "label": self.y[i]}


@cache
def digits():
    """Images and labels, shuffled."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = (found.data[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, found.target[order]


def testloader():
    """Samples that no node has."""
    x, y = digits()
    return DataLoader(Images(x[:TEST], y[:TEST]), batch_size=50)


def trainloader(i, n):
    """Samples of node i of n."""
    x, y = digits()
    return DataLoader(Images(x[TEST:][i::n], y[TEST:][i::n]), batch_size=16, shuffle=True)
