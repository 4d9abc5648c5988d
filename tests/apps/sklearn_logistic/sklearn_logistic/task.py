"""The model."""

import numpy as np
from sklearn.linear_model import LogisticRegression


def make(penalty, local_epochs):
    model = LogisticRegression(max_iter=local_epochs, warm_start=True, solver="saga")
    model.classes_ = np.arange(10)
    model.coef_, model.intercept_ = np.zeros((10, 64)), np.zeros(10)
    return model


def get_params(model):
    return [model.coef_, model.intercept_]


def set_params(model, params):
    model.coef_, model.intercept_ = params
