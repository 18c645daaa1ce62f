# %% [markdown]
# # 4. Surprise
#
# To learn, a network needs one number that says how wrong it is. You could count wrong pixels. But a count does not change when you change a weight by
# a little, so it has no gradient. This notebook builds the number that everybody uses instead. It measures **how surprised the network is by the
# truth**, its gradient is a subtraction, and it has a weakness that has ruined many a project: a black picture gets a good mark.
#
# *30 minutes. You need NumPy, derivatives, and the logarithm. No GPU.*

# %% [setup]

# %%
import matplotlib.pyplot as plt
import numpy as np

import minisegnet as ms
from minisegnet.exchange.weights import NUCLEI
from minisegnet.learn.pictures import grids

# %% [markdown]
# ## How surprised are you?
#
# The forecast says rain with probability 0.99, and it rains: you hardly notice. It said 0.01, and it rains: you will talk about it for days. The
# surprise at an event to which you gave the probability $p$ is
#
# $$\text{surprise} = -\log p$$
#
# It is 0 for what you were certain of, it grows without bound for what you thought impossible, and surprises at independent events add up, because
# logarithms turn products into sums.

# %%
p = np.linspace(0.005, 1, 200)
figure, axes = plt.subplots(figsize=(5, 2.8), dpi=90)
axes.plot(p, -np.log(p), color="#1b1e2b")
for at, text in ((0.99, "sure, and right"), (0.5, "a coin"), (0.02, "sure, and wrong")):
    axes.plot(at, -np.log(at), "o", color="#e08214")
    axes.annotate(text, (at, -np.log(at)), (8, 8), textcoords="offset points", ha="right" if at > 0.9 else "left")
axes.set(xlabel="probability that you gave to what happened", ylabel="surprise −log p")
plt.show()

# %% [markdown]
# ## From scores to probabilities
#
# A network does not give probabilities. It gives scores, any numbers; for our pixel of [notebook 1](01_one_pixel_decides.ipynb), 0.31 for background and
# −0.70 for nucleus. To make probabilities of them, make them positive, keep their order, and let them add up to 1. The exponential does the
# first two, a division the third:
#
# $$p_c = \frac{e^{x_c}}{\sum_k e^{x_k}}$$
#
# This is the **softmax**. Only differences of scores matter: if you add 100 to all scores, each exponential is multiplied by the same factor, which cancels.

# %%
scores = np.array([0.31, -0.70])
probabilities = np.exp(scores) / np.exp(scores).sum()
print("probabilities of (background, nucleus):", probabilities.round(3))
print("surprise at 'background':", -np.log(probabilities[0]).round(3))

# %%
ms.guess("Add 100 to both scores. What is the probability of background now?", ..., float(probabilities[0]), within=0.05)

# %% [markdown]
# ### Exercise 1: a softmax that survives
#
# `x` is (N, C, H, W). Scores can be as large as 10,000, and `np.exp(10_000)` is infinite. You may add any number to all scores of a pixel. Which one helps?


# %%
def my_softmax(x):
    ...


ms.check("probability.softmax", my_softmax)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_softmax(x):
#     e = np.exp(x - x.max(axis=1, keepdims=True))
#     return e / e.sum(axis=1, keepdims=True)
# ```
#
# After subtracting the largest score, the largest exponent is 0. Nothing can overflow, and the sum is at least 1, so nothing is divided by 0.
# </details>
#
# ## The loss
#
# The loss of an image is the **mean surprise of its pixels at their true class**. Its name is *cross-entropy*. With a weight $w_c$ for each class it reads
#
# $$L = \frac{1}{Z}\sum_{n,i,j} w_t \,\big(-\log p_t\big), \qquad Z = \sum_{n,i,j} w_t, \qquad t = t_{n,i,j} \text{ the true class}$$
#
# The weights say how much the surprise at a class counts; with all weights 1 it is the plain mean.
#
# ### Exercise 2: cross-entropy
#
# `x` is (N, C, H, W), `t` is (N, H, W) with the true classes as integers, `w` is (C,). Scores can be large again: $p_t$ may be so small that it is 0 in
# the computer, and its logarithm is not. Do not take the logarithm of a softmax; simplify $\log \frac{e^{x_t}}{\sum_k e^{x_k}}$ on paper first.


# %%
def my_cross_entropy(x, t, w):
    ...


ms.check("cross_entropy.forward", my_cross_entropy)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_cross_entropy(x, t, w):
#     shifted = x - x.max(axis=1, keepdims=True)
#     log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
#     picked = np.take_along_axis(log_p, t[:, None], axis=1)[:, 0]
#     return -(w[t] * picked).sum() / w[t].sum()
# ```
#
# $\log p_t = x_t - \log \sum_k e^{x_k}$: a subtraction instead of a quotient that underflows.
# </details>
#
# ## The gradient is a subtraction
#
# Take one pixel and all weights 1. Its surprise is $\ell = -x_t + \log \sum_k e^{x_k}$. Which way does it change with the score $x_c$?
#
# - The first term gives $-1$ if $c$ is the true class, and 0 if not. Write $q_c$ for that 1 or 0.
# - The second term gives, by the chain rule, $\dfrac{e^{x_c}}{\sum_k e^{x_k}}$, and that is $p_c$ again.
#
# $$\boxed{\;\frac{\partial \ell}{\partial x_c} = p_c - q_c\;}$$
#
# What the network *said*, minus what is *true*. All the exponentials and logarithms are gone. At a pixel where the network is sure and right the gradient
# is 0: nothing to learn. Sure and wrong: the gradient is nearly 1, its largest. And because it never exceeds 1, one crazy pixel cannot tear
# the network apart.

# %%
pixels, instances = ms.data.embedded.nuclei_field()
truth = (instances[20:148, 384:] > 0).astype(int)
model = ms.inference.load_model(NUCLEI)
x = np.asarray(ms.inference.scores(model, ms.data.nuclei("test")[0][0][None, :, 20:148]).numpy(), float)
e = np.exp(x - x.max(axis=1, keepdims=True))
p = (e / e.sum(axis=1, keepdims=True))[0]
surprise = -np.log(np.where(truth == 1, p[1], p[0]))
box = (110, 89, 5, 5)
grids(
    ("p(nucleus)", p[1], box),
    ("surprise at the truth", np.minimum(surprise, 3), box),
    ("p − q for nucleus", p[1] - truth, box),
)

# %% [markdown]
# Red: "less nucleus here!" Blue: "more!" The network will learn from the rims, where it is surprised, and nearly nothing elsewhere. Here is the same in the
# plane of scores, which you know from notebook 1. Each arrow shows where a step against the gradient pushes a pixel whose truth is nucleus; the orange dots
# are such pixels.

# %%
figure, axes = plt.subplots(figsize=(4.6, 4.6), dpi=90)
axes.fill_between([-6, 6], [-6, 6], 6, color="#f4a582", alpha=0.35, linewidth=0)
axes.fill_between([-6, 6], [-6, 6], -6, color="#777777", alpha=0.25, linewidth=0)
a, b = np.meshgrid(np.arange(-5.5, 6), np.arange(-5.5, 6))
push = 1 / (1 + np.exp(b - a))  # 1 − p(nucleus)
axes.quiver(a, b, -0.8 * push, 0.8 * push, angles="xy", scale_units="xy", scale=1, width=0.005, color="#1b1e2b")
axes.scatter(*x[0][:, truth == 1][:, ::25], s=10, color="#e08214", zorder=3)
axes.set(xlabel="score of background", ylabel="score of nucleus", xlim=(-6, 6), ylim=(-6, 6))
axes.set(aspect="equal", title="the push −(p − q) on a pixel that is a nucleus")
plt.show()

# %% [markdown]
# All arrows point straight across the border, into the region of the truth. They are longest where the network is most wrong, and vanish where it is right. Two
# classes, one direction: whatever is added to one score is taken from the other, because $\sum_c (p_c - q_c) = 0$.
#
# ### Exercise 3: the gradient of the loss
#
# With all axes and weights: `g` is a number, the gradient from above of $L$. Do not forget $Z$.


# %%
def my_surprise_gradient(g, x, t, w):
    ...


ms.check("cross_entropy.grad_input", my_surprise_gradient)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_surprise_gradient(g, x, t, w):
#     e = np.exp(x - x.max(axis=1, keepdims=True))
#     p = e / e.sum(axis=1, keepdims=True)
#     q = np.eye(len(w))[t].transpose(0, 3, 1, 2)
#     return g * w[t][:, None] * (p - q) / w[t].sum()
# ```
#
# The weight is that of the *true* class of the pixel, for all its scores.
# </details>
#
# ## A black picture with a good mark
#
# Now the weakness. Suppose that a network ignores the image and says the same at every pixel: "nucleus with probability $p$". Which $p$ gives the
# smallest loss? Before you compute: what would *you* say about a pixel that you cannot see?

# %%
share = truth.mean()
print(f"share of nucleus pixels: {share:.3f}")
constants = np.linspace(0.01, 0.9, 90)
loss_of_constant = -(share * np.log(constants) + (1 - share) * np.log(1 - constants))
ms.guess("Which constant p has the smallest loss?", ..., float(constants[loss_of_constant.argmin()]), within=0.15)

# %%
network = float(surprise.mean())
print(f"loss of the best constant {loss_of_constant.min():.3f}, of p = 0.5 {np.log(2):.3f}, of the network {network:.3f}")

# %% [markdown]
# The best constant says the share of nuclei, 0.1, everywhere. That is below one half, so every pixel is labelled background: **a black picture, with half the
# loss of a coin.** From there, every step that raises $p$ at true nuclei also raises it elsewhere, since the network cannot tell them apart yet. With rarer
# things it gets worse. Let us make some: bright specks in noise, one pixel in 200.

# %%
rng = np.random.default_rng(0)
specks = (rng.random((96, 96)) < 1 / 200).astype(int)
noisy = (rng.normal(size=(96, 96)) * 0.4 + 1.5 * specks).astype("float32")


def train(loss, steps=120):
    """A convolution of 3 × 3 that says at each pixel how much it looks like a speck; returns its labels."""
    ms.manual_seed(0)
    with ms.backend.use("numpy"):
        layer = ms.nn.Conv2d(1, 2, 3, padding=1)
        optimiser = ms.optim.SGD(layer.parameters(), lr=0.5)
        for _ in range(steps):
            optimiser.zero_grad()
            loss(layer(ms.tensor(noisy[None, None])), specks[None]).backward()
            optimiser.step()
        return ms.functional.label(layer(ms.tensor(noisy[None, None]))).numpy()[0]


iou = lambda p: (p & specks).sum() / (p | specks).sum()
plain = train(ms.functional.cross_entropy)
print(f"{plain.sum()} pixels labelled speck, {specks.sum()} are; IoU {iou(plain):.2f}, right pixels {100 * (plain == specks).mean():.1f} %")
grids(("noise with specks", noisy - noisy.min()), ("truth", specks), ("labels after training", plain))

# %% [markdown]
# 99 % of the pixels are right, and the network is worthless. Two remedies:
#
# - **Weights.** Let the surprise at a speck count more.
# - **Dice.** Leave the background out of the score, as IoU does: $\text{Dice} = \frac{2A}{2A + B + D}$ with sums of probabilities for the counts. Its loss, 1 − Dice, is 1
#   for a black picture, however rare the specks are.
#
# ### Exercise 4: find the specks
#
# Change the weights, or the loss, until the IoU exceeds 0.5.

# %%
weights = np.array([1.0, 1.0], "float32")  # (background, speck)

mine = train(lambda scores, t: ms.functional.cross_entropy(scores, t, weights))
print(f"{mine.sum()} pixels labelled speck, IoU {iou(mine):.2f}")
grids(("your labels", mine), ("wrong: red too many, blue missed", mine - specks))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# results = {}
# for weight in (1, 5, 15, 200):
#     mine = train(lambda scores, t: ms.functional.cross_entropy(scores, t, np.array([1, weight], "float32")))
#     results[weight] = iou(mine)
# print(results)
# assert max(results.values()) > 0.5
# ```
#
# More is not always better. A weight of 200 makes both classes count the same, and the noise is called speck as well. The best weight depends on what a
# missed speck costs you compared with a false alarm: that is a question about the world, and no loss can answer it for you.
# </details>
#
# ## What you have learnt
#
# - Surprise is $-\log p$; the loss is the mean surprise at the truth.
# - Softmax turns scores into probabilities. Subtract the largest score first; never take the logarithm of a softmax.
# - The gradient is $p - q$: what was said minus what is true.
# - Where one class is rare, a network that never says it gets a good loss. Weigh classes, or use a score that leaves the background out.
#
# **To explain to a friend:** why does a network that is sure and right learn nothing from a pixel?
#
# Next: [5. A tape in a hundred lines](05_a_tape_in_a_hundred_lines.ipynb)
