# %% [markdown]
# # 9. Train, look, mend
#
# You have built every part: the convolution, the pooling, the loss, the tape, the kernels. Now put them together. In forty lines you write a U-Net and train it on the microscope field. Then
# you do what distinguishes a good engineer: you do not believe the score. You **look** at the errors, find out which kind hurts, and **mend** that kind.
#
# *40 minutes. You need notebooks 1 and 4. No GPU. The trainings take some ten seconds each; the first one compiles, which can take a minute.*

# %% [setup]

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import minisegnet as ms
from minisegnet.learn.counting import check_count
from minisegnet.learn.pictures import grids
from minisegnet_kernels.components import connected_components

F, nn = ms.functional, ms.nn
pixels, instances = ms.data.embedded.nuclei_field()
x_train, t_train = ms.data.nuclei("train")[0]  # the left three quarters: (1, 512, 384) and (512, 384)
x_test, t_test = ms.data.nuclei("test")[0]  # the right quarter, which no training sees
PIXEL = (132, 91)  # our pixel, in the right quarter

# %% [markdown]
# ## A U-Net in twenty lines
#
# The idea of a U-Net (Ronneberger, Fischer and Brox 2015): go down, and pool twice, to see far; come up again, to see exactly; and on the way up, put the map of the same size from the way down beside the
# enlarged one. These are the *skip connections*. Twice two convolutions go down, two work at the bottom, twice two go up.


# %%
def double(before, after):
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        self.down1, self.down2, self.bottom = double(1, w), double(w, 2 * w), double(2 * w, 4 * w)
        self.up2, self.up1, self.score = double(6 * w, 2 * w), double(3 * w, w), nn.Conv2d(w, 2, 1)

    def forward(self, x):
        larger = lambda y: F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.up2(F.cat([b, larger(c)], 1))
        return self.score(self.up1(F.cat([a, larger(b)], 1)))

    def size_for(self, rows):  # the inference pads images to such a size: two pools need a multiple of 4
        return -(-rows // 4) * 4


# %%
ms.guess("How many numbers can this network learn, in thousands?", ..., sum(p.array.size for p in UNet().parameters()) / 1000, within=0.5)

# %% [markdown]
# ### Exercise 1: how far does it see?
#
# Before you train a network, ask whether it *can* see enough. A chain of layers is given as a list of (kernel size, stride), in the order in which they are applied; `[(3, 1), (3, 1)]` is two 3 × 3
# convolutions. On how many pixels in a row does one output depend? This number is called the **receptive field**. A hint: after a stride of 2, one step in the map is two pixels in the image.


# %%
def my_field(layers):
    ...


check_count("receptive_field", my_field)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_field(layers):
#     field, step = 1, 1
#     for kernel, stride in layers:
#         field += (kernel - 1) * step
#         step *= stride
#     return field
# ```
#
# `step` is the distance in the image of two neighbours in the map. Each layer adds its reach, measured in such steps.
# </details>
#
# The gradient knows the answer too. Where the gradient of one output with respect to the image is zero, the output does not look. The picture shows its size, for the output in the middle.

# %%
chain = nn.Sequential(double(1, 4), nn.MaxPool2d(2), double(4, 4), nn.MaxPool2d(2), double(4, 4))
found = ms.models.receptive_field(chain, (1, 1, 64, 64)).size[0]
print("the way down:", found, "pixels; compare with my_field([(3, 1), (3, 1), (2, 2)] * 2 + [(3, 1), (3, 1)])")
print("the whole U-Net:", ms.models.receptive_field(UNet(), (1, 1, 128, 128)).size)
grids(("influence on the middle", ms.models.measured_receptive_field(UNet(), (1, 1, 64, 64)) ** 0.25))

# %% [markdown]
# A nucleus of our field is about 20 pixels wide. The network sees two and a half times as far: enough to know a glow from a nucleus.
#
# ## Train by hand
#
# The other twenty lines. A step cuts four random pieces from the field, turns each by a random quarter, and moves all weights a little against the gradient. `Adam` (notebook 5 used plain steps) chooses the length of
# each weight's step. The rate falls to 0 along a cosine.


# %%
def pieces(rng, arrays, size=96, count=4):
    """Random pieces of arrays that lie on each other, (H, W) each; returns a batch of each, (count, size, size)."""
    cut = []
    for _ in range(count):
        i, j, turn = rng.integers(512 - size + 1), rng.integers(384 - size + 1), rng.integers(4)
        cut.append([np.rot90(a[i : i + size, j : j + size], turn) for a in arrays])
    return [np.ascontiguousarray(batch) for batch in zip(*cut)]


def train(weight, steps=80, seed=0):
    """A network, and its loss at each step. `weight` says how much each pixel of the training field counts, (512, 384)."""
    ms.manual_seed(seed)
    rng, model, losses = np.random.default_rng(seed), UNet(), []
    optimiser = ms.optim.Adam(model.parameters(), lr=5e-3)
    schedule = ms.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x, t, w = pieces(rng, (x_train[0], t_train, weight.astype("float32")))
        surprise = F.cross_entropy(model(ms.tensor(x[:, None])), t, reduction="none")  # of each pixel
        loss = (surprise * ms.tensor(w)).sum() / float(w.sum())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), losses


# %%
ms.guess("Which loss does a network have that knows nothing, so that p = 1/2 for both classes?", ..., np.log(2), within=0.05)

# %% [markdown]
# That number is your first test. If the loss of the first steps is far from it, something is wrong before you have begun.

# %%
plain, losses = train(np.ones((512, 384)))
print(f"loss {losses[0]:.2f} at the first step, {np.mean(losses[-10:]):.2f} at the end")


def judge(name, predicted):
    """IoU, and the number of connected pieces of 20 pixels or more."""
    iou = (predicted & t_test).sum() / (predicted | t_test).sum()
    found = (np.bincount(connected_components(predicted).ravel())[1:] >= 20).sum()
    print(f"{name:20} IoU {iou:.2f}   {found} pieces; a person drew {len(np.unique(instances[:, 384:])) - 1} nuclei")


predicted = ms.inference.predict(plain, x_test[None])[0]
judge("plain", predicted)
print("our pixel:", "nucleus" if predicted[PIXEL] else "background")

# %% [markdown]
# An IoU of 0.88 after eighty steps; our pixel is right. One could stop here. But read the second number: **some nuclei are missing**, and not because the network has not seen them.
#
# ## Look
#
# Here is the upper half of the test field. Red is labelled nucleus and is background; blue is the reverse. On the right, errors less than 3 pixels from a true contour are taken out.

# %%
near = ms.metrics.near_boundary(t_test, 3)
wrong = predicted - t_test
top, box = slice(20, 276), (PIXEL[0] - 22, PIXEL[1] - 2, 5, 5)
print(f"{(wrong[near] != 0).sum() / (wrong != 0).sum():.0%} of the wrong pixels are less than 3 pixels from a contour")
grids(
    ("image", np.clip(x_test[0] + 1, 0, 4)[top], box),
    ("labels", predicted[top]),
    ("errors", wrong[top]),
    ("errors far from a contour", np.where(near, 0, wrong)[top]),
    cell=0.8,
)

# %% [markdown]
# Nearly all errors hug the contours, and a person who drew the field twice would differ there as well. So these pixels are harmless? Not all of them. Look at the red in *gaps* between two nuclei: a few red pixels, and two nuclei are one. For a biologist
# who counts, that is the error that hurts.
#
# How many of the gap pixels are labelled background? U-Net's paper has a map of the gaps: with $d_1$ and $d_2$, the distances to the nearest and the second nearest nucleus, it is
#
# $$w_0 \exp\left(-\frac{(d_1 + d_2)^2}{2 \sigma^2}\right)$$
#
# It is large where two nuclei are close. Call the background pixels above 0.2 $w_0$ the gaps.

# %%
gaps = ms.losses.unet_weight_map(instances, w0=1.0)
in_gap = gaps[:, 384:] > 0.2
gap_recall = lambda labels: float((labels[in_gap] == 0).mean())
print(f"{in_gap.sum()} gap pixels, {in_gap.mean():.1%} of all; labelled background: {gap_recall(predicted):.2f}")
grids(("gaps", gaps[:, 384:][top]), ("labelled nucleus", (in_gap & (predicted == 1))[top]))

# %% [markdown]
# Gaps are one pixel in a hundred. In the mean over all pixels they hardly count, so the training hardly cares (notebook 4). The measure that hurts was not in the loss.
#
# ## Mend
#
# Put it in. Pixels in gaps count more:
#
# ### Exercise 2: a weighted mean
#
# `surprise` holds the loss of each pixel and `w` its weight. A pixel of weight 3 counts as three pixels.


# %%
def my_weighted_mean(surprise, w):
    ...


check_count("weighted_mean", my_weighted_mean)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_weighted_mean(surprise, w):
#     return (surprise * w).sum() / w.sum()
# ```
#
# The division by the sum of the weights matters: without it, larger weights would also be a larger step.
# </details>
#
# `train` does this already. Until now all weights were 1. Now they are 1 + 5 × the map of the gaps.

# %%
mended, _ = train(1 + 5 * gaps[:, :384])
relabelled = ms.inference.predict(mended, x_test[None])[0]
for name, labels in (("plain", predicted), ("with weighted gaps", relabelled)):
    judge(name, labels)
    print(f"{'':20} gap recall {gap_recall(labels):.2f}")
shown = ("truth", t_test), ("plain", predicted), ("with weighted gaps", relabelled), ("what has changed", relabelled - predicted)
grids(*((title, array[top]) for title, array in shown), cell=0.8)

# %% [markdown]
# The nuclei come apart, and the IoU has hardly moved. **It could not have told you**, before or after.
#
# ### Exercise 3: too much of a good thing
#
# What if gaps count forty times as much? Predict, then train.

# %%
ms.guess("With 1 + 40 × the gaps: does the IoU rise, stay the same within 0.01, or fall?", ..., "fall")

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# extreme = ms.inference.predict(train(1 + 40 * gaps[:, :384])[0], x_test[None])[0]
# judge("40 times", extreme)
# print(f"gap recall {gap_recall(extreme):.2f}")
# ```
#
# Nearly every gap is free, and the nuclei have become thin: where it is in doubt, the network now says background. A weight is a price, and you have to choose which error is worth more to you.
# </details>
#
# ## The same with `fit`
#
# Everything that you wrote is in the library, and more: crops, turns and changes of brightness, evaluation while training, checkpoints, continuing after an interruption. The loss `"boundary"` is the weighted one.

# %%
ms.manual_seed(0)
model = ms.models.create("unet", in_channels=1, num_classes=2, width=1 / 8)
recipe = {"steps": 60, "crop": 96, "learning_rate": 5e-3, "schedule": "cosine", "loss": "boundary", "jitter": 0.3}
history = ms.training.fit(model, ms.data.nuclei("train"), ms.data.nuclei("test"), progress=False, **recipe)
judge("fit, 60 steps", ms.inference.predict(model, x_test[None])[0])
print(history.confusion)

# %% [markdown]
# On the command line: `minisegnet train --out runs/first --loss boundary`, and for images of your own `--data FOLDER`.
#
# ## Your own photo
#
# Write the name of an image file instead of `None`. Without one, the notebook takes the field itself at a quarter of its size, as if through a weaker microscope.

# %%
PHOTO = None

photo = Image.open(PHOTO).convert("L") if PHOTO else Image.fromarray(pixels).resize((128, 128))
photo.thumbnail((256, 256))
small, large = np.array(photo), np.array(photo.resize((4 * photo.width, 4 * photo.height)))
once = ms.inference.segment_image(mended, small)
enlarged = ms.inference.segment_image(mended, large)[2::4, 2::4]
if PHOTO is None:
    truth = (instances[2::4, 2::4] > 0).astype(int)
    for name, labels in (("as it is", once), ("enlarged first", enlarged)):
        print(f"{name:15} IoU {(labels & truth).sum() / (labels | truth).sum():.2f}")
grids(("photo", np.minimum(small, 130)), ("labels", once), ("labels of the photo, enlarged", enlarged))

# %% [markdown]
# A network knows only the sizes that it has seen. Nuclei of a quarter of the size are strangers to it. Enlarged, it finds them again, although no detail has been added. `fit(..., scale=(0.5, 2))` shows all sizes
# from half to twice during training; the network that comes with the library was trained like that.
#
# ## Which architecture?
#
# The library has eighteen. A committed record holds one run of each, with the same images and the same number of steps; the width of each is chosen so that a crop costs at most about 200 million multiply-adds.

# %%
record = json.loads(Path("../docs/benchmarks/architectures.json").read_text())
runs = sorted(record["results"], key=lambda run: -run["iou"])
figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=90)
axes.scatter([run["multiply_adds"] / 1e6 for run in runs], [run["iou"] for run in runs], color="#1b6ca8")
for run, below in zip(runs[:5], (0, 0, 0, 1, 0)):
    place = (run["multiply_adds"] / 1e6, run["iou"])
    axes.annotate(run["name"], place, (0, -13 if below else 6), textcoords="offset points", fontsize=8, ha="center")
axes.set(xlim=(15, 215), ylim=(-0.05, 0.95), xlabel="million multiply-adds for a crop of 128 × 128", ylabel="IoU, held-out images")
axes.set_title(f"{len(runs)} architectures after {record['budget']['steps']} steps each, one run", fontsize=10)
plt.show()

# %% [markdown]
# Look at this picture as you have looked at your own score. The number of steps is in its title. It shows which networks learn *fast*, and says nothing about which is best in the end. Several networks still label everything as background there. One seed and twelve images do not tell
# neighbours apart. What it does show: the U-Net, one of the simplest here, is hard to beat on a small budget.
#
# ## What you have learnt
#
# - A U-Net is five pairs of convolutions, two pools and two skip connections. A training is ten lines.
# - Know the receptive field and the first loss before you train.
# - A score is a mean, and a mean hides the error that hurts. Draw the errors, name the kind, measure it by itself, and put it into the loss.
# - Mending has a price. Say which error is worth more.
#
# **To explain to a friend:** two networks have the same IoU, and one of them is useless for counting. How can that be?
#
# That was the last notebook. The [puzzles](puzzles.ipynb) are for the way home; [the guide to training](../docs/training.md) goes on where this one ends.
