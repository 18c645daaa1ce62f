# %% [markdown]
# # Puzzles
#
# Twenty blanks of one to four lines, on the three formulas of this library and their gradients: labelling $S$, convolution $F$ and pooling $P$. For a bus ride: no story,
# only the idea, the function, and a check that tells you where you are wrong. The names are those of the library's equations; `ms.equation("conv2d.forward")` shows one
# beside its code, if you want to see how it is done.
#
# *Two to ten minutes. Each, that is. You need NumPy. [Notebooks 1 to 4](README.md) explain the ideas.*

# %% [setup]

# %%
import numpy as np

import minisegnet as ms

# %% [markdown]
# ## 1. `activation.relu`
#
# Negative values become 0.


# %%
def puzzle_1(x):
    ...


ms.check("activation.relu", puzzle_1)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_1(x):
#     return np.maximum(x, 0)
# ```
# </details>

# %% [markdown]
# ## 2. `activation.grad_relu`
#
# `y` is the *output* of the ReLU. Where does the gradient from above pass?


# %%
def puzzle_2(g, y):
    ...


ms.check("activation.grad_relu", puzzle_2)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_2(g, y):
#     return g * (y > 0)
# ```
#
# At 0 itself it does not pass: that is a convention.
# </details>

# %% [markdown]
# ## 3. `label.argmax`
#
# $S$ for scores `x`, (N, C, H, W): the label `l[k]` of the largest score.


# %%
def puzzle_3(x, l):
    ...


ms.check("label.argmax", puzzle_3)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_3(x, l):
#     return l[x.argmax(axis=1)]
# ```
# </details>

# %% [markdown]
# ## 4. `label.intervals`
#
# $S$ for a map `x`, (N, H, W), and intervals `r`, (K, 2): from `r[k, 0]` up to, not including, `r[k, 1]`. They may come in any order.


# %%
def puzzle_4(x, r, l):
    ...


ms.check("label.intervals", puzzle_4)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_4(x, r, l):
#     inside = (r[:, 0] <= x[..., None]) & (x[..., None] < r[:, 1])
#     return l[inside.argmax(axis=-1)]
# ```
#
# `argmax` of booleans finds the first true one.
# </details>

# %% [markdown]
# ## 5. `label.prototypes`
#
# $S$ for vectors `x`, (N, C, H, W): the label of the nearest row of `p`, (K, C).


# %%
def puzzle_5(x, p, l):
    ...


ms.check("label.prototypes", puzzle_5)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_5(x, p, l):
#     d = ((x[:, None] - p[:, :, None, None]) ** 2).sum(axis=2)
#     return l[d.argmin(axis=1)]
# ```
#
# The new axis is K: `x[:, None]` is (N, 1, C, H, W), `p[...]` is (K, C, 1, 1).
# </details>

# %% [markdown]
# ## 6. `metrics.iou`
#
# Intersection over union of two masks of zeros and ones.


# %%
def puzzle_6(p, t):
    ...


ms.check("metrics.iou", puzzle_6)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_6(p, t):
#     return (p & t).sum() / (p | t).sum()
# ```
# </details>

# %% [markdown]
# ## 7. `conv2d.grad_bias`
#
# A bias is added to every pixel of every image. `g` is (N, O, P, Q).


# %%
def puzzle_7(g):
    ...


ms.check("conv2d.grad_bias", puzzle_7)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_7(g):
#     return g.sum(axis=(0, 2, 3))
# ```
# </details>

# %% [markdown]
# ## 8. `conv2d.forward`
#
# $F$: stride 1, no padding.


# %%
def puzzle_8(x, w, b):
    ...


ms.check("conv2d.forward", puzzle_8)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_8(x, w, b):
#     windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
#     return np.einsum("ncijuv,ocuv->noij", windows, w) + b[:, None, None]
# ```
# </details>

# %% [markdown]
# ## 9. `conv2d.forward`
#
# The same with a stride, (rows, columns), and padding, ((above, below), (left, right)).


# %%
def puzzle_9(x, w, b, stride, padding):
    ...


ms.check("conv2d.forward", puzzle_9)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_9(x, w, b, stride, padding):
#     x = np.pad(x, ((0, 0), (0, 0), *padding))
#     windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
#     windows = windows[:, :, :: stride[0], :: stride[1]]
#     return np.einsum("ncijuv,ocuv->noij", windows, w) + b[:, None, None]
# ```
#
# A stride leaves out windows; it does not change them.
# </details>

# %% [markdown]
# ## 10. `conv2d.forward`
#
# The same with a dilation. A window of 3 × 3 with dilation 2 reaches over 5 × 5 pixels.


# %%
def puzzle_10(x, w, b, dilation):
    ...


ms.check("conv2d.forward", puzzle_10)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_10(x, w, b, dilation):
#     U, V = ((size - 1) * d + 1 for size, d in zip(w.shape[2:], dilation))
#     windows = np.lib.stride_tricks.sliding_window_view(x, (U, V), axis=(2, 3))
#     return np.einsum("ncijuv,ocuv->noij", windows[..., :: dilation[0], :: dilation[1]], w) + b[:, None, None]
# ```
# </details>

# %% [markdown]
# ## 11. `conv2d.grad_weight`
#
# Which letters are free, which are summed over?


# %%
def puzzle_11(g, x):
    ...


ms.check("conv2d.grad_weight", puzzle_11)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_11(g, x):
#     windows = np.lib.stride_tricks.sliding_window_view(x, g.shape[2:], axis=(2, 3))
#     return np.einsum("ncuvij,noij->ocuv", windows, g)
# ```
# </details>

# %% [markdown]
# ## 12. `conv2d.grad_input`
#
# Stride 1. Pad, turn, slide.


# %%
def puzzle_12(g, w):
    ...


ms.check("conv2d.grad_input", puzzle_12)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_12(g, w):
#     U, V = w.shape[2:]
#     g = np.pad(g, ((0, 0), (0, 0), (U - 1, U - 1), (V - 1, V - 1)))
#     windows = np.lib.stride_tricks.sliding_window_view(g, (U, V), axis=(2, 3))
#     return np.einsum("noijuv,ocuv->ncij", windows, w[:, :, ::-1, ::-1])
# ```
# </details>

# %% [markdown]
# ## 13. `pool2d.average`
#
# The mean of tiles of 2 × 2. If a row or column is left over, it is dropped.


# %%
def puzzle_13(x):
    ...


ms.check("pool2d.average", puzzle_13)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_13(x):
#     N, C, H, W = x.shape
#     x = x[:, :, : H // 2 * 2, : W // 2 * 2]
#     return x.reshape(N, C, H // 2, 2, W // 2, 2).mean(axis=(3, 5))
# ```
# </details>

# %% [markdown]
# ## 14. `pool2d.grad_average`
#
# Its gradient. `input_size` is (H, W) of the input.


# %%
def puzzle_14(g, input_size):
    ...


ms.check("pool2d.grad_average", puzzle_14)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_14(g, input_size):
#     xbar = np.zeros((*g.shape[:2], *input_size))
#     xbar[:, :, : 2 * g.shape[2], : 2 * g.shape[3]] = g.repeat(2, axis=2).repeat(2, axis=3) / 4
#     return xbar
# ```
#
# A row that was dropped gets no gradient.
# </details>

# %% [markdown]
# ## 15. `pool2d.max`
#
# $P$ with tiles of 2 × 2. Return the largest and its place in the tile, 0 to 3 along the rows.


# %%
def puzzle_15(x):
    ...


ms.check("pool2d.max", puzzle_15)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_15(x):
#     N, C, H, W = x.shape
#     tiles = x[:, :, : H // 2 * 2, : W // 2 * 2].reshape(N, C, H // 2, 2, W // 2, 2)
#     tiles = tiles.swapaxes(3, 4).reshape(N, C, H // 2, W // 2, 4)
#     return tiles.max(axis=-1), tiles.argmax(axis=-1)
# ```
# </details>

# %% [markdown]
# ## 16. `pool2d.grad_max`
#
# Its gradient: the winner takes it all.


# %%
def puzzle_16(g, m, input_size):
    ...


ms.check("pool2d.grad_max", puzzle_16)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_16(g, m, input_size):
#     xbar = np.zeros((*g.shape[:2], *input_size))
#     for u, v in np.ndindex(2, 2):
#         xbar[:, :, u : 2 * g.shape[2] : 2, v : 2 * g.shape[3] : 2] = g * (m == 2 * u + v)
#     return xbar
# ```
# </details>

# %% [markdown]
# ## 17. `resize.nearest`
#
# Make the image twice as large: every pixel becomes a tile of 2 × 2.


# %%
def puzzle_17(x):
    ...


ms.check("resize.nearest", puzzle_17)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_17(x):
#     return x.repeat(2, axis=2).repeat(2, axis=3)
# ```
# </details>

# %% [markdown]
# ## 18. `resize.grad_nearest`
#
# Its gradient. Each pixel was used four times.


# %%
def puzzle_18(g):
    ...


ms.check("resize.grad_nearest", puzzle_18)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_18(g):
#     N, C, P, Q = g.shape
#     return g.reshape(N, C, P // 2, 2, Q // 2, 2).sum(axis=(3, 5))
# ```
#
# Compare with the mean of tiles: a sum instead.
# </details>

# %% [markdown]
# ## 19. `probability.softmax`
#
# Scores up to 10,000, without an overflow.


# %%
def puzzle_19(x):
    ...


ms.check("probability.softmax", puzzle_19)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_19(x):
#     e = np.exp(x - x.max(axis=1, keepdims=True))
#     return e / e.sum(axis=1, keepdims=True)
# ```
# </details>

# %% [markdown]
# ## 20. `batch_norm.forward`
#
# Each channel of `x`, (N, C, H, W), gets mean 0 and variance 1 over its N·H·W values, then the scale γ and the shift β. Add 1e-5 to the variance under the root.


# %%
def puzzle_20(x, gamma, beta):
    ...


ms.check("batch_norm.forward", puzzle_20)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def puzzle_20(x, gamma, beta):
#     mu, v = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
#     return gamma[:, None, None] * (x - mu) / np.sqrt(v + 1e-5) + beta[:, None, None]
# ```
# </details>

# %% [markdown]
# ## What you have learnt
#
# - Each operation and its gradient are the same sum, read in two directions: what is repeated on the way up is added on the way down.
# - NumPy has a word for almost everything here: a view of windows, an `einsum`, a `reshape` into tiles.
#
# **To explain to a friend:** pick one pair of a forward and a gradient, and say in one sentence why the one follows from the other.
