"""A character model: an embedding table, a hidden layer, batch normalisation by hand, as in Karpathy's makemore lectures."""

import torch
import torch.nn.functional as F

DATA: dict  # given by the test: C, W1, W2, X, Y, batches
printed = []

C, W1, W2 = (torch.tensor(DATA[name]) for name in ("C", "W1", "W2"))
hidden = W1.shape[1]
b2 = torch.tensor([0.0] * W2.shape[1])
bngain, bnbias = torch.tensor([[1.0] * hidden]), torch.tensor([[0.0] * hidden])
bnmean_running, bnstd_running = torch.tensor([[0.0] * hidden]), torch.tensor([[1.0] * hidden])
parameters = [C, W1, W2, b2, bngain, bnbias]
for p in parameters:
    p.requires_grad = True

X, Y = torch.tensor(DATA["X"]), torch.tensor(DATA["Y"])
for i, batch in enumerate(DATA["batches"]):
    ix = torch.tensor(batch)
    Xb, Yb = X[ix], Y[ix]
    emb = C[Xb]
    hpreact = emb.view(emb.shape[0], -1) @ W1
    bnmeani = hpreact.mean(0, keepdim=True)
    bnstdi = hpreact.std(0, keepdim=True)
    hpreact = bngain * (hpreact - bnmeani) / (bnstdi + 1e-5) + bnbias
    with torch.no_grad():
        bnmean_running = 0.999 * bnmean_running + 0.001 * bnmeani
        bnstd_running = 0.999 * bnstd_running + 0.001 * bnstdi
    h = hpreact.tanh()
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Yb)

    for p in parameters:
        p.grad = None
    loss.backward()
    lr = 0.1 if i < 15 else 0.01
    for p in parameters:
        p.data += -lr * p.grad
    printed.append(loss.item())
printed += bnstd_running.reshape(-1).tolist()
