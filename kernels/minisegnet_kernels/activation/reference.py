"""Activations in NumPy, written to be read beside ``formula.py``."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def grad_relu(g, y):
    return np.where(y <= 0, np.zeros_like(g), g)


def leaky_relu(x, *, slope):
    return np.where(x > 0, x, slope * x)


def grad_leaky_relu(g, x, *, slope):
    return np.where(x > 0, g, slope * g)
