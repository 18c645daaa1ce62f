"""A network of scalars with a hinge loss, built as micrograd's demo builds it."""

import torch

DATA: dict  # given by the test: weights, points, signs
printed = []


class Neuron:
    def __init__(self, weights, bend=True):
        self.w = [torch.tensor(float(w), requires_grad=True) for w in weights]
        self.b = torch.tensor(0.0, requires_grad=True)
        self.bend = bend

    def __call__(self, x):
        total = sum((wi * xi for wi, xi in zip(self.w, x)), self.b)
        return total.relu() if self.bend else total

    def parameters(self):
        return [*self.w, self.b]


class Network:
    def __init__(self, layers):
        self.layers = [[Neuron(w, k < len(layers) - 1) for w in layer] for k, layer in enumerate(layers)]

    def __call__(self, x):
        for layer in self.layers:
            x = [neuron(x) for neuron in layer]
        return x[0]

    def parameters(self):
        return [p for layer in self.layers for neuron in layer for p in neuron.parameters()]


model = Network(DATA["weights"])
for k in range(4):
    scores = [model([float(v) for v in point]) for point in DATA["points"]]
    losses = [(1 + -sign * score).relu() for sign, score in zip(DATA["signs"], scores)]
    data_loss = sum(losses) * (1.0 / len(losses))
    penalty = 1e-4 * sum(p * p for p in model.parameters())
    total = data_loss + penalty
    right = [(sign > 0) == bool(score.data > 0) for sign, score in zip(DATA["signs"], scores)]

    for p in model.parameters():
        p.grad = None
    total.backward()
    rate = 1.0 - 0.9 * k / 4
    for p in model.parameters():
        if p.grad is not None:
            p.data -= rate * p.grad
    printed.append((total.data.item(), sum(right) / len(right)))
