# %% [markdown]
# # 7. A thread's-eye view
#
# A GPU is fast because thousands of small workers do the same thing at once. Each of them is called a **thread**. A thread sees very little: its own number, and
# the memory. It does not know when the others run. In this notebook you write programs for such workers, first in Python, then in CUDA C++.
#
# You need no GPU. The programs run here on the CPU, in an emulator that **sees every access of every thread**. So it can show you what a thread does, and name
# the line where two threads get in each other's way. On a real GPU you would only see a wrong number now and then.
#
# *40 minutes. You need NumPy; a little C helps but is not required. With a C++ compiler (g++ or clang++) your kernels run;
# without one, you see the recorded runs of the examples, and your own kernels cannot be checked.*

# %% [setup]

# %%
import numpy as np

import minisegnet as ms
from minisegnet.learn.kernel_exercises import check_kernel
from minisegnet.learn.kernels import Kernel, draw, trace_forward
from minisegnet.learn.recorded import can_run
from minisegnet_kernels.cuda.jit import cuda

print("CUDA C++ can run here:", can_run())

# %% [markdown]
# ## One function, many threads
#
# A program for a GPU is called a *kernel*. It is a function that **each thread runs once**. The first thing a thread does is ask for its number, to know which
# piece of the work is its own. Here is a kernel in Python, with Numba: every thread squares one number.

# %%
@cuda.jit
def square(x, y):
    i = cuda.grid(1)  # the number of this thread
    if i < x.size:
        y[i] = x[i] * x[i]


x = np.arange(21, dtype="float32")
y = np.zeros_like(x)
square[3, 8](x, y)  # 3 blocks of 8 threads
print(y)

# %% [markdown]
# There is no loop: the loop has become threads. They come in **blocks** of equal size, here 3 blocks of 8. That is 24 threads for 21 numbers.

# %%
ms.guess("Without the line `if i < x.size`, which index would the last thread write to?", ..., 3 * 8 - 1)

# %% [markdown]
# The last three threads have nothing to do. The `if` is their **guard**. Without it they would write behind the end of the array, into memory that belongs to
# somebody else. A GPU does not complain about that; it does it.
#
# ## The same in CUDA C++
#
# CUDA C++ is C++ with a few words more. `__global__` marks a kernel, `thread_number()` is this library's helper for "block number · threads in a block + number
# in the block", and an array is read as `x(i)`.
#
# ### Exercise 1: square
#
# Fill in the body. `x.shape[0]` is the number of elements. The check tries several sizes, with the threads in several orders. Of a right kernel it also tells the score: how often it has read and written memory.

# %%
SQUARE = """
__global__ void square(Array<const float, 1> x, Array<float, 1> y) {
    // yours
}
"""
check_kernel("square", SQUARE)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# SQUARE = """
# __global__ void square(Array<const float, 1> x, Array<float, 1> y) {
#     int i = thread_number();
#     if (i < x.shape[0]) y(i) = x(i) * x(i);
# }
# """
# assert check_kernel("square", SQUARE)
# ```
#
# Leave out the guard and read what the check says: it names the line, and the thread.
# </details>
#
# ## Who touches what
#
# The emulator records every access. Below, each row is a thread and each column an element of `x`. Blue means that the thread reads it. The kernel adds up
# three neighbours, a convolution with the kernel (1, 1, 1):

# %%
SUM = """
__global__ void sum_of_three(Array<const float, 1> x, Array<float, 1> y) {
    int i = thread_number();
    if (i < y.shape[0]) y(i) = x(i) + x(i + 1) + x(i + 2);
}
"""
x, y = np.arange(18, dtype="float32"), np.zeros(16, "float32")
traced = Kernel(SUM)(2, 8, x, y)
print(sum(not access.write for access in traced.accesses), "reads for", len(x), "elements")
draw(traced, "x", 18, "sum_of_three: who reads which element of x")

# %% [markdown]
# The staircase is the relation $k = i + u$ of notebook 2, with threads for $i$. A column shows how often an element is read: three times, by three neighbours. Memory is
# slow and far away, so that is waste. We will come back to it.
#
# ### Exercise 2: max pooling
#
# Two dimensions now. A thread has a place in its block, `threadIdx.x` and `threadIdx.y`, and the block has a place in the grid, `blockIdx.x` and `blockIdx.y`. The
# size of a block is `blockDim.x`, `blockDim.y`. By custom, x counts columns.
#
# One thread computes one output: the largest of the tile of 2 × 2 pixels, rows $2i, 2i+1$ and columns $2j, 2j+1$. `fmaxf(a, b)` is the larger of two numbers.

# %%
POOL = """
__global__ void pool(Array<const float, 2> x, Array<float, 2> y) {
    // yours
}
"""
check_kernel("pool", POOL)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# POOL = """
# __global__ void pool(Array<const float, 2> x, Array<float, 2> y) {
#     int i = blockIdx.y * blockDim.y + threadIdx.y;
#     int j = blockIdx.x * blockDim.x + threadIdx.x;
#     if (i >= y.shape[0] || j >= y.shape[1]) return;
#     y(i, j) = fmaxf(fmaxf(x(2 * i, 2 * j), x(2 * i, 2 * j + 1)), fmaxf(x(2 * i + 1, 2 * j), x(2 * i + 1, 2 * j + 1)));
# }
# """
# assert check_kernel("pool", POOL)
# ```
#
# Both axes need a guard. A variable `best` that starts at 0 would be wrong for a tile of negative numbers.
# </details>
#
# ## Memory that a block shares
#
# Each block has a small, fast memory of its own. The usual plan: each thread fetches **one** element from far away and puts it into the shared memory; then
# everybody reads there. But "then" is the problem. Nobody says that your neighbour has already fetched its element when you read it.
#
# Here is the plan without a "then". Every block turns its 8 elements round.

# %%
RACE = """
__global__ void turned(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [8]);
    int i = thread_number();
    tile[threadIdx.x] = x(i);
    y(i) = tile[7 - threadIdx.x];
}
"""
check_kernel("turned", RACE)

# %% [markdown]
# That is a **race**: who comes first decides what is computed. The emulator names both lines, the write and the read. On a real GPU this kernel would even give the
# right result, most of the time, because 8 threads happen to run side by side. It would fail in the week after you publish it.
#
# ### Exercise 3: the barrier
#
# `__syncthreads();` is a barrier: a thread waits there until all threads of its block have arrived. Copy the kernel and mend it. One line is enough.

# %%
TURNED = """
__global__ void turned(Array<const float, 1> x, Array<float, 1> y) {
    // yours
}
"""
check_kernel("turned", TURNED)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# TURNED = RACE.replace("x(i);", "x(i);\n    __syncthreads();")
# assert check_kernel("turned", TURNED)
# ```
#
# Between a write and a read of shared memory by *another* thread there has to be a barrier. Between two rounds of a loop that reuses the memory, there has to be
# a second one.
# </details>
#
# A barrier waits for **all** threads of the block. What if one of them never comes?

# %%
STUCK = """
__global__ void turned(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [8]);
    int i = thread_number();
    tile[threadIdx.x] = x(i);
    if (threadIdx.x >= 4) return;
    __syncthreads();
    y(i) = tile[7 - threadIdx.x];
}
"""
check_kernel("turned", STUCK)

# %% [markdown]
# A GPU would hang, or go on with nonsense. Therefore never write `return` or `if` in front of a barrier that not all threads pass.
#
# ## The staircase, flattened
#
# Back to the sum of three. With shared memory, each element comes from far away once, and the two at the edge of the block are fetched by the first two threads. These
# extra elements are called the *halo*.
#
# ### Exercise 4: fewer reads
#
# Write the sum of three so that a block of 8 threads reads `x` at most 10 times. The check counts the reads. The number of elements fits the blocks, so you need no guard.

# %%
FLAT = """
__global__ void sum_of_three(Array<const float, 1> x, Array<float, 1> y) {
    SHARED(float, tile, [10]);
    // yours
}
"""
check_kernel("sum_of_three", FLAT)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# FLAT = """
# __global__ void sum_of_three(Array<const float, 1> x, Array<float, 1> y) {
#     SHARED(float, tile, [10]);
#     int i = thread_number(), t = threadIdx.x;
#     tile[t] = x(i);
#     if (t < 2) tile[t + 8] = x(i + 8);
#     __syncthreads();
#     y(i) = tile[t] + tile[t + 1] + tile[t + 2];
# }
# """
# assert check_kernel("sum_of_three", FLAT)
# ```
#
# All threads pass the barrier, also those that have no halo to fetch. The score says *turns of shared memory*; notebook 8 is about them.
# </details>
#
# This is what such a kernel touches:

# %%
TILED = SUM.replace("if (i", "if (t < 2) tile[t + 8] = x(i + 8);\n    __syncthreads();\n    if (i")
TILED = TILED.replace("x(i) + x(i + 1) + x(i + 2)", "tile[t] + tile[t + 1] + tile[t + 2]")
TILED = TILED.replace("int i = thread_number();", "SHARED(float, tile, [10]);\n    int i = thread_number(), t = threadIdx.x;\n    tile[t] = x(i);")
tiled, y_tiled = Kernel(TILED), np.zeros(16, "float32")
traced = tiled(2, 8, x, y_tiled)
print("the same result:", np.array_equal(y, y_tiled), "  reads of x:", tiled.counters["global_reads"])
draw(traced, "x", 18, "with shared memory: who reads which element of x")

# %%
fewer = 81 * 32 * 32 / (40 * 40)
ms.guess("For windows of 9 × 9 and tiles of 32 × 32, how many times fewer reads from far away?", ..., fewer, within=0.3)

# %% [markdown]
# 20 reads in place of 48 here, and about 50 times fewer for a window of 9 × 9. That is the first rung of the [ladder](../docs/ladder.md), on which the convolution of
# this library climbs from a loop to tensor cores.
#
# ## The real one
#
# `ms.backend.use("cuda")` runs the library's own kernels in the same emulator, and `trace_forward` records one. Here is the plain convolution on the 5 × 5 image of notebook 2. Which thread computes the
# output in the middle, and what does it read?

# %%
image = np.zeros((1, 1, 5, 5), "float32")
image[0, 0, 1:4, 1:4] = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
kernel = np.array([[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]], "float32")
options = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
y, traced = trace_forward("direct", image, kernel, np.zeros(1, "float32"), **options)
mine = [a for a in traced.accesses if a.write and a.array == "y" and a.offset == 4 * 4][0]
of_mine = [a for a in traced.accesses if (a.block, a.thread) == (mine.block, mine.thread)]
reads = [a.offset // 4 for a in of_mine if a.array == "x"]
print(f"y[1, 1] = {y[0, 0, 1, 1]:g} is written by thread {mine.thread} of block {mine.block}")
print("it reads the pixels", [(k // 5, k % 5) for k in reads])

# %% [markdown]
# Nine pixels, in the order of the formula.
#
# ## What you have learnt
#
# - A kernel is what one thread does; its number says which piece of the work is its own. Guard against numbers that are too large.
# - Shared memory saves reads from far away. Between a write and another thread's read stands a barrier, and every thread has to reach it.
# - A race can give the right result a thousand times. Look at accesses, not at results.
#
# **To explain to a friend:** why is a program that gave the right answer a thousand times not proved to be right?
#
# Next: [8. Climbing the ladder](08_climbing_the_ladder.ipynb)
