# %% [markdown]
# # 8. Climbing the ladder
#
# The convolution of notebook 2 is a few lines of loops. On a GPU, these lines ask the memory for 147 times as many bytes as they need. This library has the
# convolution in seven forms, from the plain loop to tensor cores. They are called **rungs**: each adds one idea to the one before, and all compute the same
# result. What makes one faster than another?
#
# In this notebook you **predict** it. You count bytes, turns and instructions before the machine does. No clock is used: the counts come from the emulator of
# notebook 7 and are the same on every computer.
#
# *35 minutes. You need notebook 7. No GPU. With a C++ compiler the counts are made here; without one, the recorded counts are shown.*

# %% [setup]

# %%
from pathlib import Path

import numpy as np

import minisegnet as ms
from minisegnet.bench import lesson
from minisegnet.learn.counting import check_count
from minisegnet.learn.kernel_exercises import check_kernel
from minisegnet.learn.machine_code import loop
from minisegnet.learn.pictures import grids

RECORDS = Path("../docs/benchmarks")

# %% [markdown]
# ## What a layer costs at least
#
# Take one layer of a U-Net, on the 16 × 16 pixels around our pixel of notebook 1: a 3 × 3 convolution from 16 to 64 channels, with a padding of 1. How much work is it?
# One multiplication and one addition count as two **operations**.

# %%
C, O, SIDE = 16, 64, 16
operations = 2 * (O * SIDE * SIDE) * (C * 3 * 3)
ms.guess("How many operations does the layer need?", ..., operations, within=0.1)

# %% [markdown]
# And how many **bytes**? Every number has 4. At the very least, each number of the input, the weights and the biases is read once, and each number of the result is written once.

# %%
least = 4 * (C * SIDE * SIDE + O * C * 3 * 3 + O + O * SIDE * SIDE)
print(f"{operations:,} operations, at least {least:,} bytes")
ms.guess("How many operations is that for each byte?", ..., operations / least, within=0.1)

# %% [markdown]
# This quotient is called the **intensity** of a program. It decides what holds the program back, because a machine has two limits. An H100, a large GPU of 2022, can do
# 67 · 10¹² operations a second, and it can move 3.35 · 10¹² bytes a second between its memory and its processors. These numbers are from NVIDIA's data sheet.
#
# So it can do 20 operations in the time in which it moves one byte. A program with fewer operations for each byte waits for memory. A program with more is held
# back by arithmetic.

# %%
ms.guess("If our layer moves every number once, what holds it back: memory or arithmetic?", ..., "arithmetic")

# %% [markdown]
# ### Exercise 1: the roof
#
# Write the most operations *a second* that a machine can reach with a program. `moved` is the number of bytes that the program moves, `peak` is in operations a second, and `bandwidth`
# is in bytes a second.


# %%
def my_limit(operations, moved, peak, bandwidth):
    ...


check_count("limit", my_limit)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_limit(operations, moved, peak, bandwidth):
#     return min(peak, operations / moved * bandwidth)
# ```
#
# Drawn over the intensity, this is a slope that ends in a plateau. It is called the *roofline*, and you will see it below.
# </details>
#
# ## Rung 1: the plain loop
#
# Rung 1 gives each output to one thread. The thread runs through its window, and for each multiply-add it reads two numbers: a pixel and a weight. Nobody shares anything.

# %%
ms.guess("How many bytes do the threads of rung 1 request, in millions?", ..., 8 * operations / 2 / 1e6, within=0.15)

# %%
(direct,) = lesson.counted(["direct"], RECORDS / "ladder.json")
print(f"counted: {direct.bytes:,} bytes, {direct.bytes / least:.0f} times the least")
print(f"intensity {direct.intensity:.2f}, limit {lesson.H100.attainable(direct) / 1e12:.1f} of 67 TFLOP/s")

# %% [markdown]
# 8 bytes for 2 operations: that is an intensity of a quarter, whatever the layer. (The count is a little lower than 8 bytes for each product, because padding is not read.) If every request went
# to memory, a machine for 67 TFLOP/s would deliver 0.9. A TFLOP/s is 10¹² operations a second. Caches answer many of the requests, so the real number is higher. But a
# cache only repairs what the program should not have asked for.
#
# ## Rung 2: read once, use often
#
# Rung 2 is the plan of notebook 7: a block copies what it needs into shared memory, and its threads read there. A block computes a tile of 8 × 32 pixels, for 4 output channels.
# Our image has only 16 columns, so a tile is as wide as the image, and there are two. The first block reads the framed cells: those under its tile, and one more row, the *halo*.

# %%
tiles = np.zeros((SIDE, SIDE))
tiles[:8] = 1
grids(("white and black: the two tiles", tiles, (0, 0, 9, 16)))

# %% [markdown]
# ### Exercise 2: predict the bytes
#
# An image of `size` × `size` with `channels` channels goes to `outputs` channels through a 3 × 3 kernel with padding 1. A block computes `rows` × `columns` pixels of `wide` output channels, so
# there are several blocks for each place if `outputs` is larger than `wide`. Each block reads:
#
# - the cells under the windows of its tile that lie inside the image, all channels, once;
# - its own weights, once.
#
# Each output also reads its bias, and is written. How many *bytes* do all blocks request together? `range(0, size, rows)` has the first rows of the tiles; the last tile may hang over the edge.


# %%
def my_tile_bytes(size, channels, outputs, rows, columns, wide):
    ...


check_count("tile_bytes", my_tile_bytes)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_tile_bytes(size, channels, outputs, rows, columns, wide):
#     def covered(tile):  # cells of the image under all tiles, along one axis
#         return sum(min(size, first + tile + 1) - max(0, first - 1) for first in range(0, size, tile))
#
#     tiles = -(-size // rows) * -(-size // columns)
#     groups = -(-outputs // wide)
#     cells = covered(rows) * covered(columns) * channels * groups
#     weights = tiles * outputs * channels * 9
#     return 4 * (cells + weights + 2 * outputs * size * size)
# ```
#
# `-(-a // b)` is a / b rounded up. The cells are read once for every 4 output channels, and not once for each of the 64: that is the saving.
# </details>
#
# Now count, and compare with `my_tile_bytes(16, 16, 64, 8, 32, 4)`.

# %%
(tile,) = lesson.counted(["tile"], RECORDS / "ladder.json")
print(f"counted: {tile.bytes:,} bytes")
ms.guess("How many times fewer bytes than rung 1 does rung 2 request?", ..., direct.bytes / tile.bytes, within=0.2)

# %% [markdown]
# Three numbers of the source, 8, 32 and 4, predict it to the byte. The intensity is now 9.4, and memory would allow 32 TFLOP/s. But the reads are not gone. They have moved to shared memory, and
# shared memory has a limit too.
#
# ## Turns and banks
#
# Threads run in groups of 32, called **warps**, that execute each instruction together. When the threads of a warp read shared memory, it answers in **turns**. The memory has 32 **banks**. Word $k$ (4 bytes)
# lies in bank $k$ mod 32. In one turn, each bank gives out one word, to as many threads as want it. Two threads that want *different* words of the same bank have to wait for each other: a **bank conflict**.
#
# Below, the number in a cell is its bank. On the left is the 5 × 5 image of notebook 2. On the right are the first cells of an array with 32 columns.

# %%
narrow, wide = np.arange(25).reshape(5, 5) % 32, (np.arange(5)[:, None] * 32 + np.arange(5)) % 32
column = (0, 1, 5, 1)
grids(("rows of 5 words: banks", narrow, column), ("rows of 32 words: banks", wide, column))

# %%
ms.guess("Five threads read the framed column on the left. How many turns?", ..., 1)

# %%
ms.guess("And on the right?", ..., 5)

# %% [markdown]
# ### Exercise 3: count the turns
#
# `words` holds the number of the word that each thread wants. How many turns does the memory take?


# %%
def my_turns(words):
    ...


check_count("turns", my_turns)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_turns(words):
#     return max(len({k for k in words if k % 32 == bank}) for bank in range(32))
# ```
#
# The busiest bank decides. It is a *set* of words, because threads that want the same word get it in the same turn.
# </details>
#
# ### Exercise 4: remove a bank conflict
#
# This kernel transposes an image by way of shared memory, so that both its reads and its writes of memory go along rows. It is right, and slow: in the last line a warp reads a *column* of the tile. Change
# the kernel so that no turn is wasted. One character is enough.

# %%
TRANSPOSED = """
__global__ void transposed(Array<const float, 2> x, Array<float, 2> y) {
    SHARED(float, tile, [32][32]);
    int i = 32 * blockIdx.y, j = threadIdx.x;
    for (int row = threadIdx.y; row < 32; row += 8) tile[row][j] = x(i + row, j);
    __syncthreads();
    for (int row = threadIdx.y; row < 32; row += 8) y(row, i + j) = tile[j][row];
}
"""
check_kernel("transposed", TRANSPOSED)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# TRANSPOSED = TRANSPOSED.replace("[32][32]", "[32][33]")
# assert check_kernel("transposed", TRANSPOSED)
# ```
#
# With 33 words in a row, the cells of a column lie in 32 different banks. The last word of each row is never used. Rung 3 of the ladder does the same with `[TILE][TILE + 1]`.
# </details>
#
# ## What holds rung 2 back
#
# A processor of the H100 (an *SM*; it has 132) does 128 multiply-adds in a clock cycle. In the same cycle its shared memory takes one turn, which is at most 32 numbers. How many turns may 1000 multiply-adds take, if
# shared memory is not to be the limit?

# %%
ms.guess("Turns for 1000 multiply-adds, at most?", ..., 1000 / 128, within=0.1)

# %%
print(f"rung 2 takes {tile.turns:.0f} turns for 1000 multiply-adds")
print(f"so it reaches at most {lesson.shared_limit(tile.turns) / 1e12:.1f} TFLOP/s")

# %% [markdown]
# Ten times too many turns, and hardly any of them is due to a bank conflict. A thread reads five numbers for four multiply-adds. To see how that could change, we look at the machine.
#
# ## A loop of machine code
#
# This is what NVIDIA's compiler makes of the inner loop of rung 3, which is shorter than that of rung 2. `sum += cells[row][q] * weights[column][q]`, 16 times, between two barriers. Four words are enough to read it:
#
# | instruction | what it does |
# |---|---|
# | `LDS R21, [R16]` | reads a number from shared memory, at the address in register 16, into register 21 |
# | `FFMA R20, R21, R20, R4` | R20 = R21 · R20 + R4, a multiply-add |
# | `BAR.SYNC` | the barrier, `__syncthreads()` |
# | `UISETP`, `PLOP3` | compare, to see whether the loop has ended |

# %%
code = loop("implicit_gemm")
print(code)

# %%
loads, products = code.counts["LDS"], code.counts["FFMA"]
ms.guess("How many numbers does rung 3 read from shared memory for each multiply-add?", ..., loads / products)

# %% [markdown]
# Each of these instructions is executed by a warp: 32 numbers, or 32 multiply-adds. The SM does four such `FFMA` in a cycle, but only one `LDS`.

# %%
share = (products / 4) / (loads / 1)
ms.guess("What share of its arithmetic can the SM use in this loop, at most?", ..., share, within=0.1)

# %% [markdown]
# ## Rung 4: read a row and a column, compute a square
#
# The way out is the same as before, one floor higher. A thread reads 8 pixels and 8 weights into registers and computes **all 64 products** of them. A register is next to the arithmetic and has no turns.

# %%
ms.guess("8 + 8 numbers are read, 8 × 8 products are computed. How many products for each number?", ..., 64 / 16)

# %%
code = loop("register_tile")
print(f"{len(code.instructions)} instructions:", dict(code.counts.most_common(3)))
print([line for line in code.instructions if line.startswith("LDS")][:2])
for name in ("implicit_gemm", "register_tile"):
    print(f"{name}: {loop(name).counts['FFMA'] / len(loop(name).instructions):.0%} of the instructions are multiply-adds")

# %% [markdown]
# 512 multiply-adds for 32 loads, and `LDS.128` reads four numbers at once: 512 / (4 · 32) = 4, as predicted. And nearly every instruction is now one that we wanted.
#
# ## The roof
#
# Here are the rungs under the roof of the H100. To the right: fewer bytes for the same work. Upwards: faster. A hollow circle is where memory would allow a rung to be, and the red dot below it is where its turns of shared
# memory leave it.

# %%
_, counts = lesson.recorded(RECORDS / "ladder.json")
rungs = [c for c in counts if c.equation == "conv2d.forward" and c.name != "winograd"]
lesson.roofline(rungs)

# %% [markdown]
# - From 1 to 2: bytes. Shared memory takes over, and becomes the limit.
# - From 2 to 3 the bytes *rise* again, to two and a half times. The tile is one of a matrix product now, and no longer of the image. It fits kernels of every size and stride, and the next rung builds on it.
# - From 3 to 4: registers take over from shared memory, as shared memory had taken over from memory.
# - 4 to 7 request equally many bytes. What they save cannot be counted here: 5 copies while it computes, 6 and 7 use *tensor cores*, which multiply small matrices in one instruction.
#
# Two warnings. Caches answer requests too, so a rung can be above its blue dot. And a limit is not a time: a program may be slower than all its limits, if it waits.
#
# ## And on a real GPU?

# %% [timing]
times = lesson.newest_times(RECORDS)
print(times or "No times of a GPU have been recorded yet: every number of this notebook is a count.")

# %% [markdown]
# With a GPU, `minisegnet bench --ladder --device cuda` times all rungs on yours. On a laptop, `minisegnet ladder --emulate` counts all of them, and [the page of the ladder](../docs/ladder.md) explains the table.
#
# ## What you have learnt
#
# - A program has an intensity: operations for each byte. Below the machine's own ratio it waits for memory, above it for arithmetic.
# - Every rung moves the reads one floor up: from memory to shared memory, from there to registers. What is read once and used often is fast.
# - Shared memory has 32 banks. A row that is one word longer can remove a conflict.
# - In machine code, count the multiply-adds among the instructions. It is the quickest way to see what a loop can reach.
#
# **To explain to a friend:** why can a machine for 67 trillion operations a second be stuck below one trillion, although nothing is wrong with the program's result?
#
# Next: [9. Train, look, mend](09_train_look_mend.ipynb)
