# %% [markdown]
# # 1. Convolution: from the formula to a gradient
#
# A segmentation network asks the same small question at every pixel: *how much does what lies
# around here look like my pattern?* The pattern is a handful of weights, the question is a weighted
# sum, and its name is convolution:
#
# $$F(x,y) = \sum_{i}\sum_{j} W(i,j)\, I(x+i,\,y+j) + B$$
#
# In this notebook you compute it by hand, as loops, and as NumPy; you see it find edges in a real
# microscope image; and you find the gradient that lets a network learn the pattern by itself.
# It takes about half an hour and needs no GPU.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

import minisegnet as ms

print("minisegnet", ms.__version__, "| programs that run here:", ", ".join(k for k, v in ms.backend.available().items() if v))

# %% [markdown]
# ## One window, by hand
#
# Take an image of 5 × 5 pixels and a kernel of 3 × 3 weights. To get **one** number of the output,
# lay the kernel on the image, multiply what lies on top of each other, and add up.

# %%
image = np.array([[0, 0, 0, 0, 0],
                  [0, 1, 1, 1, 0],
                  [0, 1, 2, 1, 0],
                  [0, 1, 1, 1, 0],
                  [0, 0, 0, 0, 0]], float)
kernel = np.array([[-1, 0, 1],
                   [-2, 0, 2],
                   [-1, 0, 1]], float)


def draw(axes, values, title, window=None):
    axes.imshow(values, cmap="Blues", vmin=-6, vmax=8)
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:g}", ha="center", va="center")
    if window:
        (row, column), size = window
        axes.add_patch(plt.Rectangle((column - 0.5, row - 0.5), size, size, fill=False, edgecolor="crimson", linewidth=2.5))
    axes.set(title=title, xticks=[], yticks=[])


i, j = 1, 0
products = kernel * image[i : i + 3, j : j + 3] + 0.0  # no −0
figure, axes = plt.subplots(1, 3, figsize=(8, 3))
draw(axes[0], image, "image I, window at (1, 0)", ((i, j), 3))
draw(axes[1], kernel, "kernel W")
draw(axes[2], products, f"products, sum = {products.sum():g}")
plt.show()

# %% [markdown]
# Check it with a pencil: the left column of the window holds zeros, the middle column is multiplied
# by zero, the right column gives 1·1 + 2·2 + 1·1 = 6. The window sees something dark on its left and
# something bright on its right, and answers with a large number. **This kernel looks for edges.**
#
# ## All windows: the literal loops
#
# Real layers have several images *n*, output channels *o* and input channels *c*, a stride and
# padding. This is the equation in full, with the meaning of each letter. The library keeps it in a
# registry, and every program of it has the equation's name.

# %%
ms.equation("conv2d.forward")

# %% [markdown]
# The section **formula.py** above is the *oracle*: loops in the formula's own letters, slow, and the
# only code that one has to compare with the formula by eye. Here is the single-channel case.


# %%
def conv_loops(image, kernel):
    H, W = image.shape
    U, V = kernel.shape
    output = np.zeros((H - U + 1, W - V + 1))
    for i in range(output.shape[0]):
        for j in range(output.shape[1]):
            for u in range(U):
                for v in range(V):
                    output[i, j] += kernel[u, v] * image[i + u, j + v]
    return output


figure, axes = plt.subplots(1, 2, figsize=(6, 3))
draw(axes[0], image, "image, 5 × 5")
draw(axes[1], conv_loops(image, kernel), "output, 3 × 3")
plt.show()

# %% [markdown]
# A 3 × 3 kernel fits into a 5 × 5 image at 3 × 3 places: without *padding*, the output shrinks. The
# output is positive at the left flank of the blob, negative at the right one.
#
# ## A real image
#
# These are cell nuclei under a fluorescence microscope, embedded in the library (Caicedo et al.,
# Nature Methods 2019).

# %%
field, mask = ms.data.nuclei("train")[0]
nuclei = field[0, 336:432, 32:128].astype(np.float64)
edges = conv_loops(nuclei, kernel)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.5), dpi=80)
axes[0].imshow(nuclei, cmap="gray", vmax=4)
axes[0].set(title="nuclei", xticks=[], yticks=[])
axes[1].imshow(edges, cmap="RdBu", vmin=-8, vmax=8)
axes[1].set(title="convolved: left flanks blue, right flanks red", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The same in NumPy, without a loop
#
# `sliding_window_view` shows each window of an array without copying it: a view with four axes,
# *i, j, u, v*, where `windows[i, j, u, v]` **is** `image[i + u, j + v]`. Then the formula is one `einsum`,
# in the letters of the formula.

# %%
windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3))
print("windows:", windows.shape, "- window (1, 0):\n", windows[1, 0])
print("einsum equals the loops:", np.array_equal(np.einsum("uv,ijuv->ij", kernel, windows), conv_loops(image, kernel)))

# %% [markdown]
# **Your turn.** Write it with all axes: `x` is (N, C, H, W), `w` is (O, C, U, V), `b` is (O,). No padding,
# stride 1. `ms.check` compares your function with the oracle on shapes that grow, and tells the first
# place where they differ. As long as it returns None, it says "not yet".


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
# </details>


# %%
def solution(x, w, b):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("ocuv,ncijuv->noij", w, windows) + b[:, None, None]


assert ms.check("conv2d.forward", solution)

# %% [markdown]
# ## Four programs, one name
#
# `conv2d.forward` exists as loops (`formula`), as NumPy, and compiled for the processor with Numba. They
# compute the same; they take very different times. (The first call compiles; it does not count.)

# %%
rng = np.random.default_rng(0)
x, w = rng.normal(size=(1, 3, 24, 24)), rng.normal(size=(4, 3, 3, 3))
times, outputs = {}, {}
for backend in ("formula", "numpy", "numba"):
    with ms.backend.use(backend), ms.no_grad():
        run = lambda: ms.functional.conv2d(ms.tensor(x), ms.tensor(w), padding=1).numpy()
        outputs[backend] = run()
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        times[backend] = min(seconds)
for backend, seconds in times.items():
    error = np.abs(outputs[backend] - outputs["formula"]).max()
    print(f"{backend:8} {1e3 * seconds:9.3f} ms   {times['formula'] / seconds:7.0f} × the loops' speed   largest difference {error:.0e}")

# %% [markdown]
# ## What if a weight were a little larger?
#
# Learning means: change the weights so that the loss *L* falls. For that we need ∂L/∂w for each weight.
# Suppose we know how the loss depends on each output, $g_{ij} = \partial L / \partial y_{ij}$ (it comes from the layer
# above). The weight $w_{uv}$ takes part in **every** output $y_{ij}$, each time multiplied by $x_{i+u,\,j+v}$. So its
# influences add up:
#
# $$\frac{\partial L}{\partial w_{uv}} = \sum_{i,j} g_{ij}\; x_{i+u,\,j+v}$$
#
# That is a convolution again: of the image, with the cotangent *g* as the kernel.

# %%
g = rng.normal(size=(3, 3))  # pretend that it came from the layer above
loss = lambda weights: (g * conv_loops(image, weights)).sum()

by_formula = conv_loops(image, g)
by_nudging = np.zeros((3, 3))
for u, v in np.ndindex(3, 3):
    nudge = np.zeros((3, 3))
    nudge[u, v] = 1e-6
    by_nudging[u, v] = (loss(kernel + nudge) - loss(kernel - nudge)) / 2e-6
print("largest difference:", np.abs(by_formula - by_nudging).max())

# %% [markdown]
# And the pixel $x_{kl}$? It takes part in the outputs $y_{ij}$ whose window covers it: those with $i + u = k$,
# $j + v = l$. So it gathers $w_{uv}\, g_{k-u,\,l-v}$: **the kernel, turned by 180°**, slides over the cotangent.

# %%
turned = kernel[::-1, ::-1]
grad_image = conv_loops(np.pad(g, 2), turned)
x1 = ms.tensor(image[None, None], requires_grad=True)
w1 = ms.tensor(kernel[None, None], requires_grad=True)
y1 = ms.functional.conv2d(x1, w1)
y1.backward(g[None, None])


def compare(name, mine, theirs):
    exact = np.array_equal(mine, theirs)
    print(f"{name:5} exact: {exact!s:5}  approximate: {np.allclose(mine, theirs)!s:5}  largest difference: {np.abs(mine - theirs).max():.1e}")


compare("∂L/∂w", by_formula, w1.grad.numpy()[0, 0])
compare("∂L/∂x", grad_image, x1.grad.numpy()[0, 0])

# %% [markdown]
# `backward` is the chain rule: it asked the convolution for its two gradients, `conv2d.grad_weight` and
# `conv2d.grad_input`. You have just derived both.
#
# ## A trap: testing with ones
#
# It is tempting to test a gradient with `y.sum().backward()`, so with $g = 1$ everywhere. Look what such a
# test lets pass: we flip the cotangent in space, an obvious mistake.

# %%
for name, cotangent in {"g = 1": np.ones((3, 3)), "g random": g}.items():
    right, wrong = conv_loops(image, cotangent), conv_loops(image, cotangent[::-1, ::-1])
    print(f"{name:9} the wrong gradient {'passes' if np.allclose(right, wrong) else 'is caught'}")

# %% [markdown]
# All tests of this library use a random cotangent and a random direction.
#
# ## Learn the kernel
#
# Now the other way round: we are given the image and the edges, and have forgotten the kernel. Start from
# random weights, and follow the gradient downhill.

# %%
ms.manual_seed(0)
source = ms.tensor(nuclei[None, None])
target = ms.tensor(edges[None, None])
layer = ms.nn.Conv2d(1, 1, 3, bias=False).double()
optimiser = ms.optim.Adam(layer.parameters(), lr=0.1)
losses = []
for _ in range(150):
    difference = layer(source) - target
    loss = (difference * difference).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())

figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].semilogy(losses)
axes[0].set(title="loss", xlabel="step")
draw(axes[1], np.round(layer.weight.detach().numpy()[0, 0], 2) + 0.0, "learned kernel")
plt.show()

# %% [markdown]
# It found the edge detector. A segmentation network does the same with thousands of kernels at once, for
# a loss that says which pixels were labelled wrongly; nobody tells it what to look for.
#
# **Three exercises.** (1) Which kernel leaves the image as it is? Which one blurs it? Try them on the
# nuclei. (2) Write `my_grad_weight(g, x)` for a kernel of 3 × 3 and check it with
# `ms.check("conv2d.grad_weight", my_grad_weight)`. (3) Add padding of 1 to `conv_loops`, so that the output is
# as large as the image, and compare with `ms.functional.conv2d(..., padding=1)`.
