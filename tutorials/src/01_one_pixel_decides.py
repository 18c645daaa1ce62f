# %% [markdown]
# # 1. One pixel decides
#
# A segmentation network looks at an image and gives **every pixel a label**. In this notebook you watch one do it, pick a single
# pixel, and follow it from its grey value to its label. Then you do the same without a network, with two thresholds, and measure who
# is better.
#
# *25 minutes. You need Python and NumPy; no calculus, no GPU.*

# %% [setup]

# %%
import matplotlib.pyplot as plt
import numpy as np

import minisegnet as ms
from minisegnet.exchange.weights import NUCLEI
from minisegnet.learn.pictures import grids

# %% [markdown]
# ## The first minute
#
# This is a microscope image of cell nuclei ([source](../minisegnet/data/nuclei/README.md)). Next to it stands what a person drew, and
# what a small network says that comes with the library. The network was trained on the left part of the image and on 208 others; it
# has never seen this part.
#
# (The first run compiles the network's kernels for your processor. That can take a minute.)

# %%
# Grey values from 0 to 255, and at each pixel the number of its nucleus; both are (512, 512).
pixels, instances = ms.data.embedded.nuclei_field()
image = pixels[20:148, 384:].astype(float)
truth = (instances[20:148, 384:] > 0).astype(int)

model = ms.inference.load_model(NUCLEI)
# The same pixels, shifted and scaled to mean 0 and deviation 1, as the network wants them.
standardised = ms.data.nuclei("test")[0][0][:, 20:148]
predicted = ms.inference.predict(model, standardised[None])[0]

PIXEL = (112, 91)
box = (PIXEL[0] - 2, PIXEL[1] - 2, 5, 5)
shown = np.minimum(image, 130)  # brighter than 130 is drawn white: one nucleus outshines the others
grids(("image", shown, box), ("truth: drawn by a person", truth, box), ("labels of the network", predicted, box))

# %% [markdown]
# Look into the orange frame. It is bright there, so bright that you might call it a nucleus. The person did not, and the network did
# not either: it is the glow of a very bright nucleus beside it. **How does the network know?** Here is the neighbourhood in numbers.

# %%
i, j = PIXEL
near = slice(i - 2, i + 3), slice(j - 2, j + 3)
grids(("grey values", image[near]), ("truth", truth[near]), ("network", predicted[near]))

# %% [markdown]
# ## The way of one pixel
#
# The network is a chain of layers. Each layer turns a stack of maps into another stack of maps. Below you see what happens on the
# way to the label of the pixel in the frame. Read it from left to right, top to bottom: the image, then the layers. The frame in each
# map holds everything on which *this pixel* depends.

# %%
path = ms.diagnostics.follow_pixel(model, standardised, PIXEL)
path.draw(standardised, classes=model.about.classes).reduce(2)

# %% [markdown]
# Two things to see:
#
# - **The frame grows and shrinks.** In the middle of the network the maps are small, and one cell there looks at a large part of the
#   image. That is how the pixel "knows" of the bright nucleus beside it.
# - **At the end there are two numbers for each pixel**, one for each class. They are called *scores*.

# %%
print("scores for (background, nucleus):", np.round(path.scores, 2))

# %% [markdown]
# And the label? It is the class with the larger score. That last step has a formula, the third of the three on which this library is
# built. It is called $S$:
#
# $$S(x,y) = l_k \quad\text{if}\quad F(x,y) \in R_k$$
#
# Read it like this. $F(x,y)$ is what the network says at a pixel; here, two scores. The space of all possible $F$ is cut into
# **regions** $R_1, R_2, \dots$, and each region has a **label** $l_k$. The pixel gets the label of the region in which its $F$ lies.
#
# Everything before $S$ computes; $S$ alone *decides*.

# %%
scores = np.asarray(ms.inference.scores(model, standardised[None]).numpy())[0]
figure, axes = plt.subplots(figsize=(4.2, 4.2), dpi=90)
axes.fill_between([-9, 9], [-9, 9], 9, color="#f4a582", alpha=0.35, linewidth=0)
axes.fill_between([-9, 9], [-9, 9], -9, color="#777777", alpha=0.25, linewidth=0)
dots = {"s": 6, "edgecolors": "black", "linewidths": 0.2, "c": np.where(truth[::4, ::4].ravel() == 1, "white", "black")}
axes.scatter(*scores[:, ::4, ::4].reshape(2, -1), **dots)
axes.scatter(*scores[:, i, j], s=90, facecolors="none", edgecolors="#e08214", linewidths=2.5)
axes.text(-8.4, 7.6, "$R_2$: nucleus", color="#b2182b"), axes.text(3.2, -8.4, "$R_1$: background")
axes.set(xlabel="score of background", ylabel="score of nucleus", xlim=(-9, 9), ylim=(-9, 9))
axes.set(title="one dot is one pixel", aspect="equal")
plt.show()

# %% [markdown]
# The regions are the two sides of the diagonal, light dots are true nuclei. The pixel in the orange ring lies in $R_1$, and not far
# from the border: the network was not sure.
#
# ### Exercise 1: $S$ in a line
#
# Write $S$ for any number of classes. `x` has the shape (N, C, H, W): image, class, row, column. `l` holds the label of each class;
# labels can be any integers. If two classes have the same largest score, the one that comes first wins.
#
# `ms.check` tries your function on small inputs. As long as it is a stub, it says "not yet".


# %%
def my_argmax(x, l):
    ...


ms.check("label.argmax", my_argmax)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_argmax(x, l):
#     return l[x.argmax(axis=1)]
# ```
#
# `argmax` gives the *number* of the region, and `l[...]` turns it into its label. NumPy's `argmax` returns the first of several equal
# values, which is the rule that we want.
# </details>
#
# ## Without a network: two thresholds
#
# $S$ does not need a network. Take as $F$ the grey value itself, and as regions **intervals**: from one threshold up to the next. The
# simplest choice has one threshold: dark is background, bright is nucleus. Which one? The histogram helps: it counts how many pixels
# have each grey value.

# %%
figure, axes = plt.subplots(figsize=(6, 2.4), dpi=90)
colours = {"color": ["#bbbbbb", "#f4a582"], "label": ["background", "nucleus"]}
axes.hist([image[truth == 0], image[truth == 1]], bins=range(0, 160, 3), stacked=True, **colours)
axes.axvline(image[i, j], color="#e08214", linewidth=2)
axes.set(xlabel="grey value", ylabel="pixels"), axes.legend()
plt.show()

# %% [markdown]
# The two colours overlap. The orange line is our pixel, at grey value 64. It is brighter than the middle one of all nucleus pixels,
# which has 59, and of the pixels that are as bright as it, 87 % are nucleus. So whatever threshold you take, **either our pixel gets
# the wrong label or half of the nuclei do**.
#
# ### How good is it? Four counts
#
# Compare a prediction with the truth, pixel by pixel. There are four kinds of pixels:
#
# | | truth: nucleus | truth: background |
# |---|---|---|
# | predicted: nucleus | **A**, right | **B**, one too many |
# | predicted: background | **D**, missed | right, but not interesting |
#
# Most of a microscope image is background, so "the share of right pixels" is high even for a prediction that finds nothing. The usual
# score leaves the fourth kind out. It is called **intersection over union**, IoU:
#
# $$\text{IoU} = \frac{A}{A + B + D}$$
#
# 1 is perfect, 0 means that not one nucleus pixel was found.

# %%
nothing = np.zeros_like(truth)
right = float((nothing == truth).mean())
ms.guess("What share of the pixels is right in a prediction that finds no nucleus at all?", ..., right, within=0.1)

# %% [markdown]
# ### Exercise 2: IoU
#
# `p` and `t` are arrays of zeros and ones.


# %%
def my_iou(p, t):
    ...


ms.check("metrics.iou", my_iou)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_iou(p, t):
#     A = ((p == 1) & (t == 1)).sum()
#     B = ((p == 1) & (t == 0)).sum()
#     D = ((p == 0) & (t == 1)).sum()
#     return A / (A + B + D)
# ```
#
# If you forget `D`, the result is called *precision*; if you forget `B`, it is called *recall*. Try it: the check notices which one
# is missing.
# </details>
#
# ### Exercise 3: your thresholds
#
# Choose intervals. Each is (from, up to but not including); the first that holds the grey value gives the label. With one threshold
# at 100 the score is poor. Can you reach 0.72?

# %%
REGIONS = [(-np.inf, 100), (100, np.inf)]  # change the numbers; more intervals are allowed
LABELS = [0, 1]

mine = ms.functional.label(image[None], ms.functional.Intervals(REGIONS), LABELS).numpy()[0]
iou = lambda p: (p & truth).sum() / (p | truth).sum()
print(f"IoU of the thresholds {iou(mine):.3f}, of the network {iou(predicted):.3f}", "" if iou(mine) >= 0.72 else "  not yet")
grids(
    ("your labels", mine, box),
    ("wrong: red too many, blue missed", mine - truth, box),
    ("the network: wrong", predicted - truth, box),
)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# best = max(range(20, 120), key=lambda k: iou((image >= k).astype(int)))
# print(best, iou((image >= best).astype(int)))
# ```
#
# One threshold is found by trying all. A second one does not help here, because no grey value above the first is more often
# background than nucleus.
# </details>
#
# Even the best threshold leaves our pixel on the wrong side. It is as bright as a nucleus; only its *neighbourhood* gives it away.
# A rule that looks at one pixel cannot see that.
#
# ## What the network adds
#
# So a network has to collect the neighbourhood of each pixel before $S$ decides. It does that with two more formulas, and nothing
# else of importance:
#
# $$F(x,y) = \sum_i \sum_j W(i,j)\, I(x+i,\,y+j) + B \qquad\qquad P(x,y) = \max_{i,j}\,\{\, W(i,j)\, F(x+i,\,y+j) + B \,\}$$
#
# $F$, the *convolution*, adds up a window of the image with weights (notebook 2). $P$, the *pooling*, keeps the winner of a window
# (notebook 3). Both take a small window. Stacked, small windows become large ones: that was the growing frame above. Here is the
# convolution at our pixel, with a window of 15 × 15 and
# equal weights. That is a mean, and we subtract it from the image:

# %%
def mean_of_windows(image, size):
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, size // 2, mode="edge"), (size, size))
    return windows.mean(axis=(2, 3))


difference = image - mean_of_windows(image, 15)  # brighter than its surroundings?
print(f"our pixel: grey value {image[i, j]:.0f}, mean of the 15 × 15 pixels around it {image[i, j] - difference[i, j]:.0f}")
grids(("image", shown, box), ("image − mean of 15 × 15", np.clip(difference, -60, 60), box))

# %% [markdown]
# One convolution, and the surprise is out: **our pixel is darker than its surroundings** (blue), although it is brighter than half
# of all nucleus pixels. In this map it is easy to decide.

# %%
both = ((image >= 42) & (difference > -6)).astype(int)
one = max(iou((image >= k).astype(int)) for k in range(20, 120))
print(f"IoU of one threshold {one:.3f}, of two, one in each map {iou(both):.3f}, of the network {iou(predicted):.3f}")
print("our pixel:", "nucleus" if both[i, j] else "background")

# %% [markdown]
# Two maps, two thresholds, chosen by hand. A network has hundreds of maps and chooses their weights itself. How it does that is the
# subject of the notebooks that follow.
#
# ## What you have learnt
#
# - A segmentation network computes scores for each pixel; the formula $S$ turns scores into labels by regions.
# - $S$ with intervals is thresholding. With "the largest score wins" it is what networks do.
# - IoU is right pixels over all pixels that either side calls nucleus. The share of right pixels misleads when one class is rare.
# - A pixel alone cannot tell glow from nucleus; its neighbourhood can. Convolution and pooling collect neighbourhoods.
#
# **To explain to a friend:** why can a program that labels 80 % of all pixels rightly be worthless?
#
# Next: [2. One relation, three sums](02_one_relation_three_sums.ipynb)
