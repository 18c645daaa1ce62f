# %% [markdown]
# # 3. The window that chooses
#
# A convolution adds up its window: everybody has a say. Pooling is the opposite. Its window holds a competition, **one pixel wins, and
# the others might as well not be there**. That sounds crude, and yet its gradients are the simplest you will meet. They are also the
# easiest to get wrong: this notebook ends with a mistake that looks right in every test but one.
#
# *25 minutes. You need NumPy and the idea of a gradient from above, from [notebook 2](02_one_relation_three_sums.ipynb). No GPU.*

# %% [setup]

# %%
import numpy as np

import minisegnet as ms
from minisegnet.learn.pictures import grids

ms.backend.use("numpy");  # for small arrays: nothing has to be compiled

# %% [markdown]
# ## The loudest pixel
#
# In its common form, pooling cuts the image into tiles of 2 × 2 and keeps the largest value of each. Here are 4 × 6 pixels.

# %%
x = np.array([[1, 3, 2, 2, 0, 1],
              [0, 2, 2, 5, 1, 0],
              [4, 1, 0, 1, 3, 3],
              [2, 1, 1, 0, 2, 3]], float)
plain = {"stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "ceil_mode": False}
y, m = (a[0, 0] for a in ms.learn.compute("pool2d.max", x[None, None], kernel_size=(2, 2), **plain))
tiles = [(i, j, 2, 2) for i in (0, 2) for j in (0, 2, 4)]
grids(("x, cut into tiles", x, tiles), ("", "→"), ("y, the largest of each", y), ("", ""), ("m, the place of the winner", m))

# %% [markdown]
# Beside the values stand the **winners** $m$: which cell of the tile was the largest. Cells of a window are counted along the rows,
#
# $$m = u\,V + v, \qquad\text{so a window of } 2 \times 2 \text{ counts}\quad \begin{matrix} 0 & 1 \\ 2 & 3 \end{matrix}$$
#
# Look at the last tile. Three pixels have the value 3; the winner is the first of them. A rule for *ties* is needed, and it has to be the
# same everywhere, or else two programs that agree on $y$ disagree on the gradients.
#
# Why pool at all? Half as many rows and columns mean a quarter of the work for all layers that follow, and the next window of 3 × 3 sees
# twice as far. That is how the frame grew in notebook 1.

# %%
pixels, _ = ms.data.embedded.nuclei_field()
nuclei = np.minimum(pixels[20:148, 384:], 130).astype(float)[None, None]
small = nuclei
panels = [("128 × 128", nuclei[0, 0], (110, 89, 5, 5))]
for size in (64, 32, 16):
    small = ms.functional.max_pool2d(ms.tensor(small), 2).numpy()
    scale = 128 // size
    panels.append((f"{size} × {size}", small[0, 0], (112 // scale - 1, 91 // scale - 1, 3, 3)))
grids(*panels)

# %% [markdown]
# The frame in each picture is 3 × 3 cells around our pixel (5 × 5 in the first). In the last one, it covers most of the bright nucleus.
#
# ## The formula, with weights
#
# The pooling formula of this library is a little more general. Before they compete, the pixels of the window are multiplied by weights,
# which can be learnt:
#
# $$y_{i,j} = \max_{u,v}\; \{\, w_{u,v}\; x_{k,l} + b \,\}, \qquad k = i\,s + u\,d - p, \quad l = j\,s + v\,d - p$$
#
# The relation of notebook 2 is back. With all weights 1 and $b = 0$ this is ordinary max pooling. With other weights the loudest pixel
# need not win. Take one window:

# %%
window = np.array([[3, -5], [2, 4]], float)
weights = np.array([[1, -1], [2, 0.5]])
grids(("x", window), ("", "·"), ("w", weights), ("", "="), ("w·x", window * weights))

# %%
ms.guess("Which place m wins, counted 0, 1, 2, 3 along the rows?", ..., int((window * weights).argmax()))

# %% [markdown]
# The winner has the *smallest* $x$: a negative weight turns the order round. Whoever picks the largest $x$ and multiplies afterwards gets another
# result. Keep that in mind.
#
# ### Exercise 1: forward
#
# `x` is (N, C, H, W), `w` is (C, U, V), one window of weights for each channel, and `b` is (C,). Stride 1, no padding. Return both `y` and `m`.
# Of equal candidates the first wins.


# %%
def my_pool(x, w, b):
    ...


ms.check("pool2d.forward", my_pool)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_pool(x, w, b):
#     C, U, V = w.shape
#     windows = np.lib.stride_tricks.sliding_window_view(x, (U, V), axis=(2, 3))  # (N, C, P, Q, U, V)
#     products = windows * w[:, None, None]
#     products = products.reshape(*products.shape[:4], U * V)
#     return products.max(axis=-1) + b[:, None, None], products.argmax(axis=-1)
# ```
#
# The bias is the same for all candidates of a channel. So it cannot change who wins, and may be added at the end.
# </details>
#
# ## Three gradients, in one breath
#
# Which way does the loss change if we change $x$, $w$ or $b$ a little? *Little* is the word: a small enough change leaves every winner where it
# is. So around the point where we are, the maximum is no maximum at all. It is a plain product of two numbers, those that won:
#
# $$y_{i,j} = w_{m}\; x_{m} + b$$
#
# The gradient from above, $g_{i,j}$, goes to the winner and to nobody else.
#
# - The winning **pixel** gets $w_m\, g_{i,j}$.
# - The winning **weight** gets $x_m\, g_{i,j}$.
# - The **bias** gets $g_{i,j}$ from every window, whoever wins.
#
# A pixel can win in several windows, and a weight in many. What they get adds up. In a picture: forward, values go along the arrows from the
# winners; backward, gradients go along *the same arrows* the other way.

# %%
import matplotlib.pyplot as plt

line, g = np.array([1, 4, 2, 3, 5, 0.0]), np.array([10, 20, -5, 7.0])
winners = [i + int(line[i : i + 3].argmax()) for i in range(4)]
xbar = np.zeros(6)
for i, k in enumerate(winners):
    xbar[k] += g[i]
figure, both = plt.subplots(1, 2, figsize=(9, 2.9), dpi=90)
box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "#cccccc"}
forward, backward = ("forward: y = max of 3", "y", line[winners], "x", line, "->"), ("backward", "g", g, "∂L/∂x", xbar, "<-")
for axes, (title, above, top, below, bottom, ends) in zip(both, (forward, backward)):
    for i, k in enumerate(winners):
        axes.annotate("", (i + 1, 0.78), (k, 0.22), arrowprops={"arrowstyle": ends, "color": "#e08214", "lw": 2})
    for row, values, start, name in ((1, top, 1, above), (0, bottom, 0, below)):
        axes.text(-0.9, row, name, ha="center", va="center", color="#6b7080")
        for k, value in enumerate(values):
            ink = "#aaaaaa" if row == 0 and k not in winners else "black"
            axes.text(k + start, row, f"{value:g}", ha="center", va="center", color=ink, bbox=box)
    axes.set(title=title, xlim=(-1.3, 5.6), ylim=(-0.35, 1.35)), axes.set_axis_off()
plt.show()

# %% [markdown]
# The 4 wins two windows and gets 10 + 20; the 5 wins two and gets −5 + 7. The grey ones lost everywhere. Their gradient is exactly 0: no small
# change of them changes anything.
#
# ### Exercise 2: the gradients
#
# Write all three for one channel and one window size. `x` is (H, W), `w` is (U, V), `b` is a number; `g` has the shape of `y`.
# `ms.check_grads` compares each with what nudging says. A gradient that you leave as `None` counts as "not yet", so you can take them one at
# a time.

# %%
def pool(x, w, b):
    options = {"stride": 1, "weight": ms.tensor(w[None]), "bias": ms.tensor(b[None])}
    return ms.functional.max_pool2d(ms.tensor(x[None, None]), w.shape, **options).numpy()[0, 0]


def my_gradients(g, x, w, b):
    xbar = wbar = bbar = None
    return xbar, wbar, bbar


rng = np.random.default_rng(3)
ms.check_grads(pool, my_gradients, rng.normal(size=(4, 5)), rng.normal(size=(2, 3)), np.array(0.5))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_gradients(g, x, w, b):
#     xbar, wbar = np.zeros_like(x), np.zeros_like(w)
#     for i, j in np.ndindex(g.shape):
#         u, v = np.unravel_index((w * x[i : i + w.shape[0], j : j + w.shape[1]]).argmax(), w.shape)
#         xbar[i + u, j + v] += g[i, j] * w[u, v]
#         wbar[u, v] += g[i, j] * x[i + u, j + v]
#     return xbar, wbar, g.sum()
# ```
#
# The library's program for a GPU does it the other way round: one thread for each *pixel* looks in which windows the pixel has won. Then no two
# threads add to the same place, and the result is the same to the last bit in every run.
# </details>
#
# ## The mistake that looks right
#
# What about padding? A convolution pads with zeros, because a zero adds nothing to a sum. For a maximum the obvious choice is $-\infty$: it never
# wins. Many libraries do exactly that. Let us do it, and test it on 1,000 random images with random weights from 0 to 1:

# %%
def pool_with(filling, x, w):
    """Pool with windows of 3 × 3, stride 1, padding 1, by filling the padding with a number."""
    padded = np.pad(x, 1, constant_values=filling)
    with np.errstate(invalid="ignore"):
        return (np.lib.stride_tricks.sliding_window_view(padded, (3, 3)) * w).max(axis=(2, 3))


def right(x, w):
    options = {"stride": 1, "padding": 1, "weight": ms.tensor(w[None]), "bias": ms.tensor(np.zeros(1))}
    return ms.functional.max_pool2d(ms.tensor(x[None, None]), 3, **options).numpy()[0, 0]


rng = np.random.default_rng(0)
trials = [(rng.normal(size=(4, 5)), rng.uniform(0.01, 1, (3, 3))) for _ in range(1000)]
for filling in (0.0, -np.inf):
    agree = sum(np.allclose(pool_with(filling, x, w), right(x, w)) for x, w in trials)
    print(f"filled with {filling:g}: {agree} of 1000 are right")

# %% [markdown]
# 1,000 of 1,000. Would you release it?
#
# ### Exercise 3: break it
#
# Find an image of 3 × 3 and weights of 3 × 3 for which filling with $-\infty$ gives a wrong result.

# %%
my_x = np.zeros((3, 3))
my_w = np.ones((3, 3))

wrong = pool_with(-np.inf, my_x, my_w)
broken = not np.array_equal(wrong, right(my_x, my_w))
print("filled with −∞ is", "WRONG here: you have broken it" if broken else "right here: try again")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# my_x, my_w = np.zeros((3, 3)), -np.ones((3, 3))
# wrong = pool_with(-np.inf, my_x, my_w)
# assert not np.array_equal(wrong, right(my_x, my_w))
# print(wrong)
# ```
#
# One **negative weight** is enough: $-1 \cdot (-\infty) = +\infty$, and the padding wins against every pixel. A weight of exactly 0 makes
# $0 \cdot \infty$, which is not a number. All 1,000 trials had positive weights, and weights that are learnt do not stay positive.
# </details>
#
# The way out is not another number. No number is smaller than all others *after* it was multiplied by any weight. **Cells outside of the image
# have to be left out of the competition.** In the formula this stands under the maximum:
#
# $$y_{i,j} = \max_{\substack{u,v \\ 0 \le k < H \\ 0 \le l < W}} \{\, w_{u,v}\, x_{k,l} + b \,\}$$
#
# A test finds only mistakes that its inputs can show. The tests of this library draw weights of both signs, because of this mistake.
#
# ## The way back up
#
# One more thing that winners are good for. A segmentation network has to return to the full size of its image. *Unpooling* puts each value back to
# the place from which its winner came, and leaves zeros elsewhere:

# %%
pooled, where = ms.functional.max_pool2d(ms.tensor(x[None, None]), 2, return_indices=True)
back = ms.functional.max_unpool2d(pooled, where, 2).numpy()[0, 0]
grids(("x", x, tiles), ("", "→"), ("pooled", pooled.numpy()[0, 0]), ("", "→"), ("unpooled", back, tiles))

# %% [markdown]
# SegNet, one of the networks in this library, remembers its winners for exactly this. Compare the picture on the right with the gradient of
# pooling: they have the same form. Unpooling *is* the gradient of pooling, used forwards.
#
# ## What you have learnt
#
# - Pooling keeps the winner of each window, and remembers which it was. Ties need a rule.
# - Near a point the maximum is the product that won, so the gradient goes to the winning pixel and the winning weight alone, and adds up.
# - Padding must be left out of the competition. With weights, no filling value is safe.
# - A thousand random tests can share one blind spot.
#
# **To explain to a friend:** a pixel that never wins gets no gradient. How can a network still learn to make it win?
#
# Next: [4. Surprise](04_surprise.ipynb)
