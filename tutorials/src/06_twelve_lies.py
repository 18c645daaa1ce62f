# %% [markdown]
# # 6. Twelve lies
#
# A wrong gradient does not crash. The network trains, only worse, and you blame the learning rate. In this notebook you get twelve gradients of a
# convolution that are all wrong, and four tests. The first test is the one that most people write. **It lets eight of the twelve pass.** At the end
# you write a test that catches them all, and learn about the one lie that no test of gradients can catch.
#
# *30 minutes. You need [notebook 2](02_one_relation_three_sums.ipynb). No GPU.*

# %% [setup]

# %%
import matplotlib.pyplot as plt
import numpy as np

import minisegnet as ms
from minisegnet_kernels.conv2d import reference

# %% [markdown]
# ## The truth
#
# Here is a convolution with a stride, and its two gradients, in the NumPy of the library. `x` is (N, C, H, W), `w` is (O, C, U, V), and `g` is the gradient
# from above, with the shape of `y`.

# %%
plain = lambda stride: {"stride": stride, "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}


def forward(x, w, stride):
    return reference.forward(x, w, np.zeros(len(w)), **plain(stride))


def right(g, x, w, stride):
    options = plain(stride)
    xbar = reference.grad_input(g, w, input_size=x.shape[2:], **options)
    return xbar, reference.grad_weight(g, x, kernel_size=w.shape[2:], **options)


# %% [markdown]
# ## The lies
#
# Each takes the right gradients and spoils one thing. All twelve have been found in real programs.

# %%
def lie(change):
    """A wrong gradient: change(xbar, wbar, g, x, w, stride) gives both gradients."""
    return lambda g, x, w, stride: change(*right(g, x, w, stride), g, x, w, stride)


turn = lambda a: a[..., ::-1, ::-1]
LIES = {
    "∂L/∂x is zero": lie(lambda xbar, wbar, *_: (0 * xbar, wbar)),
    "∂L/∂w has the wrong sign": lie(lambda xbar, wbar, *_: (xbar, -wbar)),
    "∂L/∂w is twice too large": lie(lambda xbar, wbar, *_: (xbar, 2 * wbar)),
    "the kernel is not turned": lie(lambda xbar, wbar, g, x, w, s: (right(g, x, turn(w), s)[0], wbar)),
    "g is turned": lie(lambda xbar, wbar, g, x, w, s: (xbar, right(turn(g), x, w, s)[1])),
    "g is forgotten": lie(lambda xbar, wbar, g, x, w, s: right(np.ones_like(g), x, w, s)),
    "only the first image counts": lie(lambda xbar, wbar, g, x, w, s: (xbar, right(g[:1], x[:1], w, s)[1])),
    "a mean over the batch": lie(lambda xbar, wbar, g, *_: (xbar, wbar / len(g))),
    "channels are mixed up": lie(lambda xbar, wbar, g, x, w, s: (right(g[:, ::-1], x, w, s)[0], wbar)),
    "rows for columns": lie(lambda xbar, wbar, *_: (xbar, wbar.swapaxes(2, 3) if wbar.shape[2] == wbar.shape[3] else wbar)),
    "the stride of the rows for both": lie(lambda xbar, wbar, g, x, w, s: (xbar, right(g, x, w, s)[1] if s[0] == s[1] else 0 * wbar)),
    "the last column is lost": lie(lambda xbar, wbar, *_: (xbar * (np.arange(xbar.shape[3]) < xbar.shape[3] - 1), wbar)),
}

# %% [markdown]
# ## How to test a gradient
#
# The loss is a number that depends on $y$. The simplest loss with a given gradient from above is $L = \sum g\,y$. Choose a direction $d$, move the input a
# tiny step along it, and look by how much $L$ changes. If the gradient is right, it predicts the change:
#
# $$\frac{L(x + \varepsilon d) - L(x - \varepsilon d)}{2\varepsilon} \;\approx\; \sum \frac{\partial L}{\partial x}\, d$$

# %%
def predicts(gradients, g, x, w, stride, dx, dw, eps=1e-4):
    """Whether the gradients predict how the loss changes along dx, and along dw."""
    loss = lambda x, w: (g * forward(x, w, stride)).sum()
    xbar, wbar = gradients(g, x, w, stride)
    along_x = (loss(x + eps * dx, w) - loss(x - eps * dx, w)) / (2 * eps)
    along_w = (loss(x, w + eps * dw) - loss(x, w - eps * dw)) / (2 * eps)
    return np.isclose(along_x, (xbar * dx).sum(), rtol=1e-6) and np.isclose(along_w, (wbar * dw).sum(), rtol=1e-6)


def trial(gradients, shape_x, shape_w, stride=(1, 1), seed="random", values="random"):
    rng = np.random.default_rng(0)
    draw = lambda shape: rng.normal(size=shape) if values == "random" else np.ones(shape)
    x, w = draw(shape_x), draw(shape_w)
    y = forward(x, w, stride)
    g = np.ones(y.shape) if seed == "ones" else rng.normal(size=y.shape)
    return bool(predicts(gradients, g, x, w, stride, draw(shape_x), draw(shape_w)))


TESTS = {
    "ones everywhere": lambda f: trial(f, (1, 1, 5, 5), (1, 1, 3, 3), seed="ones", values="ones"),
    "g = 1": lambda f: trial(f, (1, 1, 5, 5), (1, 1, 3, 3), seed="ones"),
    "random, square": lambda f: trial(f, (1, 1, 5, 5), (1, 1, 3, 3)),
    "random, batch": lambda f: trial(f, (2, 2, 5, 5), (3, 2, 3, 3)),
}
print("the right gradient passes:", [test(right) for test in TESTS.values()])

# %%
caught = {name: sum(not test(f) for f in LIES.values()) for name, test in TESTS.items()}
ms.guess("How many of the twelve lies does the first test catch, the one with ones everywhere?", ..., caught["ones everywhere"])

# %% [markdown]
# ## The board
#
# A dark field: the test catches the lie. An orange one: the lie passes.

# %%
def board(tests):
    table = np.array([[not test(f) for test in tests.values()] for f in LIES.values()])
    figure, axes = plt.subplots(figsize=(2.6 + 1.3 * len(tests), 4.6), dpi=90)
    axes.imshow(table, cmap="PuOr", vmin=-0.25, vmax=1.1, aspect="auto")
    axes.set_xticks(range(len(tests)), [f"{name}\n{n} of 12" for name, n in zip(tests, table.sum(0))], fontsize=8)
    axes.set_yticks(range(len(LIES)), LIES, fontsize=9)
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(-0.5, len(tests)), minor=True), axes.set_yticks(np.arange(-0.5, len(LIES)), minor=True)
    axes.grid(which="minor", color="white", linewidth=3), axes.tick_params(which="both", length=0)
    plt.show()


board(TESTS)

# %% [markdown]
# Read it column by column.
#
# - **Ones everywhere.** With all values equal, it does not matter which pixel meets which weight. Turned, swapped, mixed up: all the same. `y.sum().backward()` on
#   an array of ones is a test that the *size* is about right.
# - **g = 1.** It is blind to everything that happens to $g$.
# - **Random, one square image.** One image cannot show what happens to a batch; one channel cannot be mixed up; equal strides cannot be exchanged.
# - **Random, a batch.** Nearly there.
#
# A test sees only what its inputs can show.
#
# ### Exercise 1: lie to the test
#
# Write a wrong gradient that passes the second test, `g = 1`. It must not be one of the twelve, and it has to be wrong for other `g`.


# %%
def my_lie(g, x, w, stride):
    return right(g, x, w, stride)


with_ones, with_a_batch = TESTS["g = 1"], TESTS["random, batch"]
passes, wrong = with_ones(my_lie), not with_a_batch(my_lie)
print("passes the test with ones:", passes, " is wrong:", wrong, "" if passes and wrong else "  not yet")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_lie(g, x, w, stride):
#     return right(np.abs(g), x, w, stride)
#
# assert with_ones(my_lie) and not with_a_batch(my_lie)
# ```
#
# $g^2$, the mean of $g$, the rows of $g$ in another order: everything that leaves a constant 1 as it is.
# </details>
#
# ### Exercise 2: catch all twelve
#
# Write a test. It gets a gradient and returns whether it believes it. Use `trial` with shapes, strides and seeds of your choice, as often as you like. It has to
# accept the right gradient.


# %%
def my_test(gradients):
    return True


n = sum(not my_test(f) for f in LIES.values())
done = n == 12 and my_test(right)
print(f"your test accepts the right gradient: {my_test(right)}, and catches {n} of 12 lies", "" if done else "  not yet")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_test(gradients):
#     return (trial(gradients, (2, 2, 5, 5), (3, 2, 3, 3)) and trial(gradients, (2, 2, 7, 6), (3, 2, 3, 2), stride=(2, 1)))
#
# assert my_test(right) and not any(my_test(f) for f in LIES.values())
# board({**TESTS, "yours": my_test})
# ```
#
# Two trials are needed. "Rows for columns" shows only with a square kernel, since another kernel would change the shape. The stride shows only if the two
# strides differ.
# </details>
#
# To choose every trap by hand is tiring, and you will forget one. **Property-based tests** draw shapes, strides and seeds at random, hundreds of times, and
# shrink a failure to the smallest one. The tests of this library do that for all its equations, with the package Hypothesis; `ms.check` has used cases of
# this kind on *your* functions all along.
#
# ## A test without a step
#
# A convolution is linear in $x$. For linear functions there is an exact test, with no $\varepsilon$ and no rounding to tune. For any $x$ and any $g$,
#
# $$\sum_{\text{outputs}} y(x)\, g \;=\; \sum_{\text{pixels}} x\; \frac{\partial L}{\partial x}$$
#
# Both sides add up the same products $w\,x\,g$; only the order differs. It is called the *adjoint identity*.

# %%
def adjoint(gradients):
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 2, 7, 6)), rng.normal(size=(3, 2, 3, 2))
    y = forward(x, w, (2, 1))
    g = rng.normal(size=y.shape)
    xbar, wbar = gradients(g, x, w, (2, 1))
    return bool(np.allclose((y * g).sum(), (x * xbar).sum()) and np.allclose((y * g).sum(), (w * wbar).sum()))


print("right:", adjoint(right), "  lies caught:", sum(not adjoint(f) for f in LIES.values()), "of 12")

# %% [markdown]
# Eleven. The one that escapes is "rows for columns": this kernel is not square. One trial is never enough.
#
# ## The lie that passes everything
#
# Here is a convolution that turns its kernel, together with *its own* gradient. Run all your tests:

# %%
def wrong_forward(x, w, stride):
    return forward_that_is_right(x, turn(w), stride)


def its_gradient(g, x, w, stride):
    xbar, wbar = right(g, x, turn(w), stride)
    return xbar, turn(wbar)


forward_that_is_right, forward = forward, wrong_forward
print("the tests believe it:", [test(its_gradient) for test in TESTS.values()], my_test(its_gradient))
forward = forward_that_is_right

# %% [markdown]
# Of course they do. The gradient *is* right: for the wrong function. **A gradient check compares a gradient with its own forward.** It cannot know what the
# forward should have been. For that, somebody has to write the formula down in the plainest way there is, and compare. In this library these are the
# literal loops, and the LaTeX itself, which a small interpreter runs:

# %%
rng = np.random.default_rng(0)
x, w, b = rng.normal(size=(1, 2, 5, 4)), rng.normal(size=(3, 2, 3, 2)), np.zeros(3)
(from_latex,) = ms.learn.compute("conv2d.forward", x, w, b, **plain((1, 1)))
for f in (forward, wrong_forward):
    print("the formula agrees with", f.__name__, np.allclose(from_latex, f(x, w, (1, 1))))

# %% [markdown]
# ### Exercise 3: a slip in a formula
#
# Formulas can lie too. In this one, somebody exchanged stride and dilation. With the options below it gives the same result as the right one. Choose options
# for which it does not.

# %%
tex = ms.equation("conv2d.forward").equation.tex
slip = ms.learn.Formula(tex.replace("i s_h + u d_h", "i d_h + u s_h"), ms.equation("conv2d.forward").equation.symbols)
MY_STRIDE, MY_DILATION = (1, 1), (1, 1)

options = {**plain(MY_STRIDE), "dilation": MY_DILATION}
big = rng.normal(size=(1, 2, 9, 8))
(truth,) = ms.learn.compute("conv2d.forward", big, w, b, **options)
same = np.allclose(slip({"x": big, "w": w, "b": b}, options, {"y": truth.shape})["y"], truth)
print("nothing to see: not yet" if same else "the slip shows")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# options = plain((2, 1))
# (truth,) = ms.learn.compute("conv2d.forward", big, w, b, **options)
# assert not np.allclose(slip({"x": big, "w": w, "b": b}, options, {"y": truth.shape})["y"], truth)
# ```
#
# Any options with a stride of the rows that differs from their dilation. A test that never changes an option from its default tests a simpler function.
# </details>
#
# ## What you have learnt
#
# - Test a gradient with a random $g$ and a random direction. Ones hide nearly everything.
# - A test sees what its inputs can show: use batches, channels that differ, rectangles, options away from their defaults.
# - A test is proved by the faults that it catches. Plant some.
# - A gradient check compares with its own forward. For the forward you need an oracle.
#
# **To explain to a friend:** how can a program pass a thousand tests and be wrong every time it matters?
#
# Next: [7. A thread's-eye view](07_a_threads_eye_view.ipynb)
