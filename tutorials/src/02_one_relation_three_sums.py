# %% [markdown]
# # 2. One relation, three sums
#
# A convolution looks complicated when you meet it as code: seven loops, a stride, a padding, and then two gradients with kernels that
# are "turned by 180°". It is not. There is **one relation** between three indices,
#
# $$k = i\,s + u\,d - p$$
#
# and everything else is a sum over what it leaves free. In this notebook you derive the output and both gradients from it.
#
# *40 minutes. You need NumPy, and you should know what a derivative is. No GPU.*

# %% [setup]

# %%
import json, time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minisegnet as ms
from minisegnet.learn.pictures import grids

ms.backend.use("numpy");  # for small arrays: nothing has to be compiled

# %% [markdown]
# ## One window, with a pencil
#
# Take an image of 5 × 5 pixels and a *kernel* of 3 × 3 weights. Lay the kernel on a window of the image, multiply what lies on top of
# each other, and add up. That gives **one** number of the output.

# %%
image = np.array([[0, 0, 0, 0, 0],
                  [0, 1, 1, 1, 0],
                  [0, 1, 2, 1, 0],
                  [0, 1, 1, 1, 0],
                  [0, 0, 0, 0, 0]], float)
kernel = np.array([[-1, 0, 1],
                   [-2, 0, 2],
                   [-1, 0, 1]], float)
i, j = 1, 0
products = kernel * image[i : i + 3, j : j + 3] + 0.0
grids(("image x, a window", image, (i, j, 3, 3)), ("", "·"), ("kernel w", kernel), ("", "="), ("products", products))

# %%
ms.guess("The sum of the nine products?", ..., products.sum())

# %% [markdown]
# The left column of the kernel meets zeros, the middle column *is* zero, the right column gives 1·1 + 2·2 + 1·1. This kernel answers
# "how much brighter is it on my right than on my left?". It finds vertical edges.
#
# ## All windows
#
# Move the window over the image. At each place $(i, j)$ there is one sum:
#
# $$y_{i,j} = \sum_{u,v} w_{u,v}\; x_{i+u,\;j+v}$$
#
# $i, j$ count rows and columns of the output, $u, v$ those of the kernel. Here is the formula as loops, letter by letter.


# %%
def convolve(x, w):
    (H, W), (U, V) = x.shape, w.shape
    y = np.zeros((H - U + 1, W - V + 1))
    for i, j in np.ndindex(y.shape):
        for u, v in np.ndindex(U, V):
            y[i, j] += w[u, v] * x[i + u, j + v]
    return y


grids(("image x", image), ("", "∗"), ("kernel w", kernel), ("", "="), ("output y", convolve(image, kernel)))

# %% [markdown]
# Red is positive, blue is negative: left flanks are red, right flanks blue. A kernel of 3 × 3 fits into 5 × 5 pixels at 3 × 3 places, so the
# output is smaller than the image. The same two loops find edges in a real image, the nuclei of notebook 1:

# %%
pixels, _ = ms.data.embedded.nuclei_field()
nuclei = np.minimum(pixels[20:148, 384:], 130).astype(float)
edges = np.clip(convolve(nuclei, kernel), -150, 150)
grids(("nuclei", nuclei, (110, 89, 5, 5)), ("convolved with w", edges, (110, 89, 5, 5)))

# %% [markdown]
# Our pixel of notebook 1 is in the frame, and it is deep blue: brighter on its left than on its right. A convolution *sees* that it
# lies on the right slope of something.
#
# ## All axes, no loops
#
# Real layers have $N$ images, $C$ input channels and $O$ output channels, and each output channel has a number $b_o$, its *bias*, that
# is added at the end:
#
# $$y_{n,o,i,j} = b_o + \sum_{c,u,v} w_{o,c,u,v}\; x_{n,c,\,i+u,\,j+v}$$
#
# More letters, the same idea. NumPy can write such a sum without loops: `sliding_window_view` shows all windows of an array as a view
# with two more axes (nothing is copied), and `einsum` multiplies and adds **in the letters of the formula**.

# %%
windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3))  # windows[i, j, u, v] is image[i + u, j + v]
print("shape of the windows (i, j, u, v):", windows.shape)
print("equal to the loops:", np.array_equal(np.einsum("uv,ijuv->ij", kernel, windows), convolve(image, kernel)))

# %% [markdown]
# ### Exercise 1: forward
#
# Write it with all axes. `x` is (N, C, H, W), `w` is (O, C, U, V) and `b` is (O,). If the check finds a wrong number, it tells you the
# smallest case in which you differ and, often, what you have computed instead.


# %%
def my_forward(x, w, b):
    ...


ms.check("conv2d.forward", my_forward)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_forward(x, w, b):
#     windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
#     return np.einsum("ocuv,ncijuv->noij", w, windows) + b[:, None, None]
# ```
#
# `b[:, None, None]` has the shape (O, 1, 1), so that each channel gets its own bias. With `+ b` alone NumPy would add it along the
# columns.
# </details>
#
# ## The relation
#
# Three options change *which* pixel a weight meets:
#
# - the **stride** $s$: the window moves by $s$ pixels at each step;
# - the **dilation** $d$: the cells of the window lie $d$ pixels apart;
# - the **padding** $p$: the image gets $p$ rows of zeros around it, so the first window begins at row $-p$.
#
# All of it is in one line. Output row $i$ and kernel row $u$ meet input row
#
# $$k = i\,s + u\,d - p.$$
#
# Here is $k$ for a column of 5 pixels and a kernel of 3, with three choices of options. Rows are $i$, columns are $u$.


# %%
def relation(outputs, s=1, d=1, p=0):
    return np.array([[i * s + u * d - p for u in range(3)] for i in range(outputs)])


grids(
    ("k for s = 1, p = 0", relation(3)),
    ("k for s = 2, p = 1", relation(3, s=2, p=1)),
    ("k for s = 1, d = 2, p = 2", relation(5, d=2, p=2)),
)

# %% [markdown]
# Blue numbers, and those above 4, lie outside of the image: there $x$ counts as 0.
#
# Look at the tables in three ways, for they hold the whole notebook:
#
# - **a row** has one $i$: all $k$ that *this output* reads;
# - **a column** has one $u$: all $k$ that *this weight* meets;
# - **all places with the same number** have one $k$: all $(i, u)$ that *this pixel* takes part in.
#
# One relation, three sums. Each of them is a formula that a network needs:

# %%
g = np.array([[1, -2, 0],
              [3, 1, -1],
              [0, 2, 1]], float)
grids(
    ("y[1,1] reads these pixels", image, (1, 1, 3, 3)),
    ("with all weights", kernel, (0, 0, 3, 3)),
    ("and gives one output", convolve(image, kernel), (1, 1, 1, 1)),
    ("w[0,2] meets these pixels", image, (0, 2, 3, 3)),
    ("one weight", kernel, (0, 2, 1, 1)),
    ("for all outputs", g, (0, 0, 3, 3)),
    ("x[1,1] is met", image, (1, 1, 1, 1)),
    ("by these weights", kernel, (0, 0, 2, 2)),
    ("for these outputs", g, (0, 0, 2, 2)),
    columns=3,
)

# %% [markdown]
# The first row of pictures is the output $y$. The second and the third are gradients. Let us derive them.
#
# ## What if a weight were a little larger?
#
# To learn is to change the weights so that the loss $L$ falls. For that we need $\partial L / \partial w_{u,v}$: by how much $L$ changes
# for each bit that we add to the weight.
#
# Suppose that we know how $L$ depends on the outputs: $g_{i,j} = \partial L / \partial y_{i,j}$. We call $g$ **the gradient from above**, because
# it comes from the layers after this one. Now add a bit to the weight $w_{u,v}$. It takes part in *every* output, in each one multiplied
# by another pixel. The effects add up:
#
# $$\frac{\partial L}{\partial w_{u,v}} = \sum_{i,j} \underbrace{\frac{\partial L}{\partial y_{i,j}}}_{g_{i,j}}\;\underbrace{\frac{\partial y_{i,j}}{\partial w_{u,v}}}_{x_{i+u,\,j+v}}$$
#
# That is the second row of the picture: $u$ is fixed, the sum runs over $i$. And it is the formula of a convolution once more, with $g$ in
# the place of the kernel. Believe it only after a test: nudge each weight, and look at what the loss does.

# %%
loss = lambda x, w: (g * convolve(x, w)).sum()  # a loss whose gradient from above is g
by_formula = convolve(image, g)
by_nudging = np.zeros((3, 3))
for u, v in np.ndindex(3, 3):
    nudge = np.zeros((3, 3))
    nudge[u, v] = 1e-6
    by_nudging[u, v] = (loss(image, kernel + nudge) - loss(image, kernel - nudge)) / 2e-6
print("largest difference below 1e-8:", np.abs(by_formula - by_nudging).max() < 1e-8)

# %% [markdown]
# ### Exercise 2: the gradient of the weights
#
# With all axes. `g` is (N, O, P, Q), `x` is (N, C, H, W), and the result has the shape of the kernel, (O, C, U, V). Which letters are
# left free, and which are summed over?


# %%
def my_grad_weight(g, x):
    ...


ms.check("conv2d.grad_weight", my_grad_weight)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_grad_weight(g, x):
#     windows = np.lib.stride_tricks.sliding_window_view(x, g.shape[2:], axis=(2, 3))
#     return np.einsum("noij,ncuvij->ocuv", g, windows)
# ```
#
# $o, c, u, v$ are free, because there is one gradient for each weight. $n$ is summed over: a weight serves every image of the batch.
# </details>
#
# ## What if a pixel were a little brighter?
#
# The pixels of *this* layer are the output of the layer before, and that layer waits for its gradient from above. So we need
# $\partial L / \partial x_{k,l}$ too. A pixel takes part in the outputs whose window covers it. How many are there?

# %%
ms.guess("In how many windows of 3 × 3 is a pixel of a 5 × 5 image? (the one in the middle, one in a corner)", ..., (9, 1))

# %% [markdown]
# For the row $k$ it is the third way to read the table: all $(i, u)$ with $i + u = k$. Solve for $i$. Then $i = k - u$, and
#
# $$\frac{\partial L}{\partial x_{k,l}} = \sum_{u,v} w_{u,v}\; g_{k-u,\;l-v}$$
#
# Compare it with the output: there the index was $i + u$, here it is $k - u$. **The kernel runs backwards.** If you prefer to slide a
# window, you have to turn the kernel by 180° first. That is the whole mystery of the turned kernel.
#
# And the borders? For $k = 0$ and $u = 2$ we get $i = -2$, an output that does not exist; it counts as 0. So $g$ needs two rows of zeros
# on every side, one less than the kernel has rows.

# %%
turned = kernel[::-1, ::-1]
padded = np.pad(g, 2)
grad_image = convolve(padded, turned)
grids(
    ("g, with zeros around it", padded, (0, 0, 3, 3)), ("", "∗"), ("w, turned", turned), ("", "="),
    ("∂L/∂x", grad_image, (0, 0, 1, 1)),
)

# %% [markdown]
# The library agrees. `backward` asks the convolution for both gradients, `conv2d.grad_weight` and `conv2d.grad_input`:

# %%
x1 = ms.tensor(image[None, None], requires_grad=True)
w1 = ms.tensor(kernel[None, None], requires_grad=True)
ms.functional.conv2d(x1, w1).backward(g[None, None])
print("∂L/∂w:", np.allclose(w1.grad.numpy(), by_formula), "  ∂L/∂x:", np.allclose(x1.grad.numpy(), grad_image))

# %% [markdown]
# ### Exercise 3: the gradient of the input, with a stride
#
# With a stride, $k = i\,s + u$ can no longer be solved for $i$ by sliding a window. There is a simpler way, and it works always: **walk
# over the weights**. For fixed $u, v$ the relation sends all outputs to a regular grid of pixels, rows $u, u+s, u+2s, \dots$ Add
# $w_{u,v}\,g$ there.
#
# `stride` is a pair, (rows, columns), and `input_size` is (H, W), because the last rows of an image may be met by no window.


# %%
def my_grad_input(g, w, stride, input_size):
    ...


ms.check("conv2d.grad_input", my_grad_input)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_grad_input(g, w, stride, input_size):
#     (N, O, P, Q), (_, C, U, V), (s, t) = g.shape, w.shape, stride
#     xbar = np.zeros((N, C, *input_size))
#     for u, v in np.ndindex(U, V):
#         xbar[:, :, u : u + s * P : s, v : v + t * Q : t] += np.einsum("noij,oc->ncij", g, w[:, :, u, v])
#     return xbar
# ```
#
# Write `=` for `+=` and see what the check says. A pixel that lies in several windows has several reasons to change the loss.
# </details>
#
# ## A surprise: the checkerboard
#
# Let the gradient from above be 1 everywhere, and all weights 1. Nothing is special about any pixel. With stride 1 the gradient of the
# image is smooth. With stride 2 it is not:

# %%
ones = lambda size: ms.tensor(np.ones((1, 1, size, size)))
seen = {}
for s in (1, 2):
    x = ms.tensor(np.zeros((1, 1, 9, 9)), requires_grad=True)
    y = ms.functional.conv2d(x, ones(3), stride=s)
    y.backward(np.ones(y.shape))
    seen[s] = x.grad.numpy()[0, 0]
grids(("∂L/∂x, stride 1", seen[1]), ("∂L/∂x, stride 2", seen[2]), cell=0.36)

# %% [markdown]
# With stride 2, a pixel lies in 1, 2 or 4 windows, depending on whether its row and its column are even. The relation says so: $k = 2i + u$
# has two solutions for an even $k$ and one for an odd $k$. The same pattern appears as dark and light squares in pictures that networks
# *make* with a transposed convolution, which is this gradient read forwards.
#
# ## A trap: testing with ones
#
# Many people test a gradient with $g = 1$, since `y.sum().backward()` is so easy to write. See what such a test lets pass: we turn $g$ by 180°, a
# plain mistake.

# %%
for name, seed in {"g = 1": np.ones((3, 3)), "g random": np.random.default_rng(0).normal(size=(3, 3))}.items():
    right, wrong = convolve(image, seed), convolve(image, seed[::-1, ::-1])
    print(f"{name:9} the wrong gradient {'passes' if np.allclose(right, wrong) else 'is caught'}")

# %% [markdown]
# That a test passes proves nothing until you have seen it fail. Notebook 6 is about that.
#
# ## Learn the kernel back
#
# Now you have the image and the edges, and have forgotten the kernel. Start from random weights and walk against the gradient.

# %%
ms.manual_seed(0)
source = ms.tensor(nuclei[None, None] / 64)
target = ms.tensor(convolve(nuclei / 64, kernel)[None, None])
layer = ms.nn.Conv2d(1, 1, 3, bias=False).double()
optimiser = ms.optim.Adam(layer.parameters(), lr=0.1)
losses = []
for _ in range(250):
    difference = layer(source) - target
    loss = (difference * difference).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
print(f"loss: {losses[0]:.2f} at the start, {losses[50]:.3f} after 50 steps, below 0.001 at the end: {losses[-1] < 1e-3}")
grids(("learned kernel", np.round(layer.weight.detach().numpy()[0, 0], 1) + 0.0), ("the forgotten one", kernel))

# %% [markdown]
# It found the edge detector. A segmentation network does the same with thousands of kernels at once, and nobody tells it what to look for.
#
# ## How fast?
#
# Your loops are the formula, and they are slow. The same equation exists in the library as loops, as NumPy, and compiled for the
# processor with Numba, under one name. Here are 8 images of 128 × 128 with 16 channels; the record was made on another machine, so
# compare ratios.

# %% [timing]
rng = np.random.default_rng(0)
x, w = (ms.tensor(rng.normal(size=s).astype("float32")) for s in ((8, 16, 128, 128), (16, 16, 3, 3)))
record = Path("../docs/speed.json")
rows = json.loads(record.read_text())["results"] if record.exists() else []
case = [r for r in rows if "3×3" in r["case"] and r["case"].endswith("16→16, 128²") and r["phase"] == "forward"]
recorded = {r["library"]: 1e3 * r["seconds"] for r in case}
for backend in ("numpy", "numba"):
    with ms.backend.use(backend), ms.no_grad():
        run = lambda: ms.functional.conv2d(x, w, padding=1)
        run()  # the first call compiles
        start = time.perf_counter()
        run()
    here = 1e3 * (time.perf_counter() - start)
    print(f"{backend:6} {here:7.1f} ms here   {recorded.get(backend, np.nan):7.1f} ms in the record")

# %% [markdown]
# ## What you have learnt
#
# - One relation, $k = i\,s + u\,d - p$, says which input row meets which output row under which kernel row.
# - Sum over $u$ with $i$ fixed: the output. Over $i$ with $u$ fixed: the gradient of a weight. Over both with $k$ fixed: the gradient of a pixel.
# - The kernel "turns" in the third sum because $i = k - u$. Nothing else turns anything.
# - Test gradients with a random $g$.
#
# Read on in the library: `ms.equation("conv2d.forward")` shows the formula with all options beside the five programs that compute it.
#
# **To explain to a friend:** why does a pixel in the corner of an image learn less than one in the middle?
#
# Next: [3. The window that chooses](03_the_window_that_chooses.ipynb)
