"""A polynomial is fitted to a sine four times: by hand, by autograd, with modules, and with an optimiser (PyTorch's "examples")."""

import torch

DATA: dict  # given by the test: x, y, start
printed = []
x, y = torch.tensor(DATA["x"]), torch.tensor(DATA["y"])

# By hand.
a, b, c, d = (torch.tensor(v) for v in DATA["start"])
for t in range(20):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = ((y_pred - y) ** 2).sum().item()
    grad_y_pred = 2.0 * (y_pred - y)
    a -= 1e-4 * grad_y_pred.sum()
    b -= 1e-4 * (grad_y_pred * x).sum()
    c -= 1e-4 * (grad_y_pred * x**2).sum()
    d -= 1e-4 * (grad_y_pred * x**3).sum()
    printed.append(loss)
printed += [a.item(), b.item(), c.item(), d.item()]

# By autograd.
a, b, c, d = (torch.tensor(v, requires_grad=True) for v in DATA["start"])
for t in range(20):
    y_pred = a + b * x + c * x**2 + d * x**3
    loss = ((y_pred - y) ** 2).sum()
    loss.backward()
    with torch.no_grad():
        a -= 1e-4 * a.grad
        b -= 1e-4 * b.grad
        c -= 1e-4 * c.grad
        d -= 1e-4 * d.grad
        a.grad = None
        b.grad = None
        c.grad = None
        d.grad = None
    printed.append(loss.item())


# With modules: layers, and one of our own.
class Polynomial3(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (torch.nn.Parameter(torch.tensor(v)) for v in DATA["start"])

    def forward(self, x):
        return self.a + self.b * x + self.c * x**2 + self.d * x**3


def layers():
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([DATA["start"][1:]]))
        model[0].bias.fill_(DATA["start"][0])
    return model


xx = x.unsqueeze(-1) ** torch.tensor([1, 2, 3])
loss_fn = torch.nn.MSELoss(reduction="sum")
for model, given in ((layers(), xx), (Polynomial3(), x)):
    for t in range(20):
        loss = loss_fn(model(given), y)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for param in model.parameters():
                param -= 1e-4 * param.grad
        printed.append(loss.item())

# With an optimiser, clipped gradients, and a moving average of the weights.
model = layers()
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
average = [p.detach().clone() for p in model.parameters()]
for t in range(20):
    loss = loss_fn(model(xx), y)
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 50.0)
    for p in model.parameters():
        p.grad.data.clamp_(-40, 40)
    optimizer.step()
    with torch.no_grad():
        for mean, p in zip(average, model.parameters()):
            mean.mul_(0.9).add_(p, alpha=0.1)
    printed.append((loss.item(), float(norm)))
printed += model[0].weight.detach().reshape(-1).tolist() + average[0].reshape(-1).tolist()
