# %% [markdown]
# # 5. A tape in a hundred lines
#
# You can differentiate a convolution (notebook 2) and a pooling (notebook 3). A network is hundreds of such steps, one after another. Nobody
# writes its gradient by hand: the computer **records what it computes on a tape, and plays the tape backwards**. In this notebook you write
# that machine, first for single numbers, then for arrays, and train a small network with nothing else.
#
# *35 minutes. You need the chain rule, $(f(g(x)))' = f'(g(x))\,g'(x)$, and a little Python. No GPU.*

# %% [setup]

# %%
import math

import numpy as np

import minisegnet as ms
from minisegnet.learn.pictures import grids, tape

# %% [markdown]
# ## A number that remembers
#
# Take $z = x\,y + x\,x$ with $x = 2$ and $y = 3$. By hand: $\partial z/\partial x = y + 2x = 7$, $\partial z/\partial y = x = 2$. The machine has to find that by itself.
#
# The idea: each time a number is computed, write down **from which numbers** it came, and **how fast it changes with each of them**. We call
# that speed a *slope*. For a product it is the other factor.

# %%
class Value:
    tape = []  # all values, in the order in which they were computed

    def __init__(self, data, sources=(), slopes=()):
        self.data, self.sources, self.slopes, self.grad = data, sources, slopes, 0.0
        Value.tape.append(self)

    def __add__(self, other):
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Value(self.data * other.data, (self, other), (other.data, self.data))


x, y = Value(2.0), Value(3.0)
z = x * y + x * x

# %% [markdown]
# Let us look at the tape. Each box is a value; the number at an arrow is its slope.

# %%
layout = ["x", "y", "x·y", "x·x", "z"], [(0, 1.4), (0, 0), (2.4, 0.1), (2.4, 1.4), (4.8, 0.75)]
tape(Value.tape, *layout)

# %% [markdown]
# How much does $z$ change when $x$ grows by a bit? Follow the arrows from $x$ to $z$. Along one way the slopes multiply (the chain rule). There are
# several ways from $x$ to $z$, and their effects **add up**: $3 \cdot 1$ through $x\,y$, and $2 \cdot 1$ twice through $x\,x$. The sum is 7.
#
# Counting all ways would take forever: in a network there are more of them than atoms in the universe. But each box can *collect* what comes to it
# and pass it on **once**. Begin at $z$ with gradient 1 and go backwards.

# %%
def backward(result):
    result.grad = 1.0
    for value in reversed(Value.tape):
        for source, slope in zip(value.sources, value.slopes):
            source.grad += value.grad * slope


backward(z)
tape(Value.tape, *layout)

# %% [markdown]
# Seven lines, and the gradients 7 and 2 are right. That is the whole of *reverse-mode automatic differentiation*: PyTorch does nothing else. Two things in it look
# harmless and are not.
#
# **`+=`, not `=`.** What happens with `=`? Each new arrow overwrites the one before.

# %%
def backward_with_a_bug(result):
    for value in Value.tape:
        value.grad = 0.0
    result.grad = 1.0
    for value in reversed(Value.tape):
        for source, slope in zip(value.sources, value.slopes):
            source.grad = value.grad * slope  # the bug


backward_with_a_bug(z)
print("with = instead of +=:  ∂z/∂x =", x.grad, " ∂z/∂y =", y.grad)

# %% [markdown]
# $y$ is still right! The bug shows only where a value is **used twice**. In a chain of layers nothing is used twice, and all tests pass. Then somebody
# builds a U-Net, whose skip connections use every map twice, and it trains, but badly.
#
# **`reversed(tape)`.** A box may pass on its gradient only when it is *complete*, that is, after all boxes that used it. Do we have to sort the boxes?
# No: a value is always computed before the values that use it. So the order of computation, backwards, is a right order. It comes for free.
#
# ### Exercise 1: one more operation
#
# The tape needs functions with curves. Give the slope of $e^x$, of $1/x$ and of $\max(0, x)$, each as a function of the input and the result.


# %%
def my_slopes(x):
    """The slopes of exp(x), 1/x and max(0, x) at an array x: three arrays."""
    return None, None, None


at = np.array([-1.5, -0.3, 0.4, 2.0])
three = {"exp": np.exp, "inverse": lambda x: 1 / x, "relu": lambda x: np.maximum(x, 0)}
for k, (name, function) in enumerate(three.items()):
    gradient = lambda g, x: (None if my_slopes(x)[k] is None else g * my_slopes(x)[k],)
    print(ms.check_grads(function, gradient, at, names=[name]))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_slopes(x):
#     return np.exp(x), -1 / x**2, (x > 0) * 1.0
#
# for k, (name, f) in enumerate(three.items()):
#     assert ms.check_grads(f, lambda g, x: (g * my_slopes(x)[k],), at, names=[name])
# ```
#
# At $x = 0$ the ReLU has a kink and no slope; the library takes 0 there, as PyTorch does.
# </details>
#
# ## From numbers to arrays
#
# An image of 128 × 128 is 16,384 numbers. Writing down a slope for each pair of input and output would take $16{,}384^2$ numbers. But nobody ever needs the
# slopes themselves: only **what they do to a gradient**. So we write down a *function* that takes the gradient from above, $g$, and returns the
# gradient of each source. It is called a **pullback**. You have written three: the gradients of convolution and pooling are pullbacks.

# %%
class Array:
    tape = []

    def __init__(self, data, sources=(), pullback=None):
        self.data, self.sources, self.pullback = np.asarray(data, float), sources, pullback
        self.grad = np.zeros_like(self.data)
        Array.tape.append(self)

    def __add__(self, other):
        return Array(self.data + other.data, (self, other), lambda g: (g, summed_back(g, other.data.shape)))

    def __mul__(self, other):
        return Array(self.data * other.data, (self, other), lambda g: (g * other.data, g * self.data))

    def relu(self):
        return Array(np.maximum(self.data, 0), (self,), lambda g: (g * (self.data > 0),))

    def mean(self):
        return Array(self.data.mean(), (self,), lambda g: (np.full_like(self.data, g / self.data.size),))

    def backward(self):
        self.grad = np.ones_like(self.data)
        for array in reversed(Array.tape):
            if array.pullback:
                for source, g in zip(array.sources, array.pullback(array.grad)):
                    source.grad += g


def summed_back(g, shape):
    """The gradient of an array of this shape that was repeated (broadcast) to the shape of g."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(k for k, n in enumerate(shape) if n == 1), keepdims=True)


print("the gradient of a bias that was added to 6 pixels:", summed_back(np.ones((1, 2, 3)), (1, 1, 1)).ravel())

# %% [markdown]
# `summed_back` is the array form of `+=`. When NumPy adds a bias of one number to a whole map, that number is used in each pixel. Used many times: the
# effects add up.
#
# ### Exercise 2: the pullback of a matrix product
#
# $Y = A\,B$, that is $y_{ij} = \sum_k a_{ik}\, b_{kj}$. Given `g` with the shape of $Y$, return the gradients of $A$ and of $B$. The shapes alone leave you
# hardly a choice.


# %%
def my_matmul_pullback(g, A, B):
    return None, None


rng = np.random.default_rng(0)
ms.check_grads(lambda A, B: A @ B, my_matmul_pullback, rng.normal(size=(2, 3)), rng.normal(size=(3, 4)))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_matmul_pullback(g, A, B):
#     return g @ B.T, A.T @ g
# ```
#
# $a_{ik}$ takes part in row $i$ of $Y$, each time multiplied by $b_{kj}$: $\bar a_{ik} = \sum_j g_{ij}\, b_{kj}$. That is $g\,B^T$.
# </details>
#
# ## Train with it
#
# Now a real task, with *your* machine and nothing of the library but one thing: the pullback of the convolution, which you know. A network of two
# layers learns to label the nuclei of notebook 1.

# %%
def convolve(x, w):
    """x (C, H, W), w (O, C, 5, 5), padded so that the size stays: the formulas of notebook 2."""
    view = lambda a: np.lib.stride_tricks.sliding_window_view(np.pad(a, ((0, 0), (2, 2), (2, 2))), (5, 5), axis=(1, 2))
    sum_of_products = lambda letters, a, b: np.einsum(letters, a, b, optimize=True)

    def pullback(g):
        grad_x = sum_of_products("ocuv,oijuv->cij", w.data[:, :, ::-1, ::-1], view(g))
        return grad_x, sum_of_products("oij,cijuv->ocuv", g, view(x.data))

    return Array(sum_of_products("ocuv,cijuv->oij", w.data, view(x.data)), (x, w), pullback)


pixels, instances = ms.data.embedded.nuclei_field()
image = (pixels[20:148, 384:] / 64.0 - 0.5)[None]
truth = (instances[20:148, 384:] > 0)[None].astype(float)

rng = np.random.default_rng(1)
parameters = [Array(rng.normal(size=s) * 0.2) for s in ((6, 1, 5, 5), (6, 1, 1), (1, 6, 5, 5), (1, 1, 1))]
sign = Array(1 - 2 * truth)  # −1 where there is a nucleus


def network(image):
    w1, b1, w2, b2 = parameters
    return convolve((convolve(image, w1) + b1).relu(), w2) + b2


def loss_of(score):
    """log(1 + exp(−score)) at a nucleus, log(1 + exp(score)) elsewhere: small if the sign of the score is right."""
    z = score * sign
    return Array(np.logaddexp(0, z.data), (z,), lambda g: (g / (1 + np.exp(-z.data)),)).mean()


losses = []
for step in range(80):
    Array.tape.clear()
    for p in parameters:
        p.grad = np.zeros_like(p.data)
    loss = loss_of(network(Array(image)))
    loss.backward()
    for p in parameters:
        p.data = p.data - 0.5 * p.grad
    losses.append(float(loss.data))
score = network(Array(image)).data[0]
predicted = (score > 0).astype(int)
iou = (predicted & (truth[0] == 1)).sum() / (predicted | (truth[0] == 1)).sum()
print(f"loss {losses[0]:.2f} → {losses[-1]:.2f}; IoU {iou:.2f}; our pixel:", "nucleus" if predicted[112, 91] else "background")
box = (110, 89, 5, 5)
grids(("image", np.clip(image[0] + 0.5, 0, 2), box), ("score", np.clip(score, -4, 4), box), ("labels", predicted, box))

# %% [markdown]
# A network, a loss and an optimiser, from `+`, `*` and the chain rule.
#
# ### Exercise 3: a tape that is wrong the second time
#
# In the training loop there are two lines that look like housekeeping: `Array.tape.clear()`, and the one that sets all `grad` to zero. Call `backward` twice
# without them, and see what happens:

# %%
def grad_after(calls, fresh):
    """The gradient of x² at x = 3 after some calls of backward; if fresh, all is set to zero before each."""
    Array.tape.clear()
    x = Array(3.0)
    y = x * x
    for _ in range(calls):
        if fresh:
            for a in Array.tape:
                a.grad = np.zeros_like(a.data)
        y.backward()
    return float(x.grad)


print("once:", grad_after(1, False), "  twice:", grad_after(2, False), "  twice, with zeros:", grad_after(2, True))

# %%
ms.guess("Without setting to zero: what is the gradient after five calls?", ..., grad_after(5, False))

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# assert ms.guess("after five calls", 30.0, grad_after(5, False))
# ```
#
# `+=` cannot know that a new call is a new question: 6 is added at each call. It is a feature when you *want* to add gradients, over several batches for
# example. It is why every training loop has a line `optimizer.zero_grad()`. Forget it, and the steps grow longer and longer.
# </details>
#
# ## The real one
#
# The engine of this library is [one file](../minisegnet/tensor.py). It is your tape with three differences: it forgets what nobody needs any more, it
# computes only those gradients that are asked for, and it tells you when you use it wrongly. The result is the same:

# %%
a = np.random.default_rng(2).normal(size=(2, 3))
t = ms.tensor(a, requires_grad=True)
(ms.functional.relu(t * t + t)).mean().backward()
Array.tape.clear()
b = Array(a)
(b * b + b).relu().mean().backward()
print("the library and your tape agree:", np.allclose(t.grad.numpy(), b.grad))

# %% [markdown]
# ## What you have learnt
#
# - Record sources and slopes while computing; play it backwards; multiply along an arrow, add where arrows meet.
# - `+=` matters where a value is used twice. A broadcast is a value that is used many times.
# - The order of computation, reversed, is a right order.
# - For arrays a pullback takes the place of slopes: a function from the gradient above to the gradients below.
#
# **To explain to a friend:** why does one run backwards give the gradient for a million weights, when nudging would take a million runs?
#
# Next: [6. Twelve lies](06_twelve_lies.ipynb)
