"""Cases and helpers that the tests of the convolution ladder share."""

import numpy as np

from minisegnet_kernels import backends, conv2d
from minisegnet_kernels.conv2d.ladder import Case
from minisegnet_kernels.layout import channels_last

# N, C, H, W, O, U, V, stride, padding, dilation, groups. No size is a multiple of a tile.
CASES = {
    "3 × 3": (2, 4, 7, 9, 5, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "more than one tile": (1, 8, 9, 17, 70, 3, 2, (1, 1), ((1, 1), (1, 0)), (1, 1), 1),
    "one channel": (1, 1, 9, 11, 3, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "three channels": (2, 3, 6, 5, 16, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "five channels": (1, 5, 5, 7, 1, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "sixteen channels, 1 × 1": (1, 16, 5, 5, 8, 1, 1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "2 × 2, stride 2": (1, 8, 7, 9, 4, 2, 2, (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "stride 2, an even kernel, odd padding": (1, 8, 9, 8, 6, 3, 2, (2, 1), ((1, 0), (2, 1)), (1, 1), 1),
    "dilation": (1, 4, 11, 9, 4, 3, 3, (1, 1), ((2, 2), (1, 0)), (2, 3), 1),
    "odd sizes, uneven padding": (1, 9, 9, 17, 35, 3, 3, (1, 1), ((2, 1), (0, 1)), (1, 1), 1),
    "groups": (1, 8, 6, 7, 8, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    "stride 2 and dilation 2": (1, 4, 9, 8, 8, 3, 3, (2, 2), ((1, 1), (2, 2)), (2, 2), 1),
    "stride 4 and dilation 6": (1, 4, 15, 9, 4, 3, 2, (4, 3), ((3, 1), (0, 5)), (6, 2), 1),
    "a stride beyond the kernel": (1, 4, 8, 9, 4, 1, 1, (2, 3), ((0, 0), (0, 0)), (1, 1), 1),
    "a kernel as large as the image": (2, 4, 3, 3, 8, 3, 3, (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
}
LAYOUTS = {"rows": lambda a: a, "channels last": channels_last}
SCHEDULES = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]


def name_of(rung):
    """The rung in the name of a test: ``4s-winograd-forward``."""
    return f"{rung.label}-{rung.name}-{rung.equation.partition('.')[2]}"


def kernel_of(rung, equation=None):
    """``conv2d_forward__tile``."""
    plain = "" if rung.name == "direct" else f"__{rung.name}"
    return f"{(equation or rung.equation).replace('.', '_')}{plain}"


def arguments(rung, sizes, dtype="float32", lay=lambda a: a, integers=False):
    """The arguments of the rung's equation: arrays and options."""
    N, C, H, W, O, U, V, stride, padding, dilation, groups = sizes
    rng, geometry = np.random.default_rng(7), {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    draw = (lambda *s: rng.integers(-4, 5, s)) if integers else (lambda *s: rng.normal(size=s))
    axes = zip((H, W), (U, V), stride, padding, dilation, strict=True)
    x, w, b = draw(N, C, H, W), draw(O, C // groups, U, V), draw(O)
    g = draw(N, O, *(conv2d.output_size(*axis) for axis in axes))
    x, w, b, g = lay(x.astype(dtype)), w.astype(dtype), b.astype(dtype), lay(g.astype(dtype))
    arrays, options = {
        "conv2d.forward": ((x, w, b), {}),
        "conv2d.grad_input": ((g, w), {"input_size": (H, W)}),
        "conv2d.grad_weight": ((g, x), {"kernel_size": (U, V)}),
    }[rung.equation]
    return arrays, {**options, **geometry}


def expected(rung, arrays, options, relu=False):
    """The result of NumPy's program in float64."""
    equation = rung.equation.partition(".")[2] + ("_relu" if relu else "")
    with backends.use("numpy"):
        return getattr(conv2d, equation)(*(a.astype("float64") for a in arrays), **options)


def is_served(rung, sizes, dtype, lay):
    arrays, options = arguments(rung, sizes, dtype, lay)
    return rung.serves(Case.of(rung.equation, *arrays[:2], **options))


def bound(rung, arrays, values):
    """The largest permitted error: 16 u √terms · scale, where u is the unit roundoff of float32, or of TF32 for a rung that uses it."""
    terms = max(np.prod(a.shape[1:]) for a in arrays)
    if rung.equation == "conv2d.grad_weight":
        terms = max(terms, arrays[0].size // arrays[0].shape[1])
    unit = 2**-11 if rung.tf32 else np.finfo(arrays[0].dtype).eps
    return 16 * unit * terms**0.5 * np.abs(values).max(initial=0)


def served(rung, sizes):
    """The pairs (dtype, layout) in which the rung serves the case."""
    return [(dtype, lay) for dtype in ("float32", "float64") for lay in LAYOUTS.values() if is_served(rung, sizes, dtype, lay)]


def with_an_infinity(rung, sizes):
    """A case with an infinity in the first image. A rung that multiplies it by 0, and does not leave it out, gives NaN."""
    arrays, options = arguments(rung, sizes, "float32", channels_last)
    image = arrays[0]
    image[0, 0, image.shape[2] // 2, image.shape[3] // 2] = np.inf
    return arrays, options


SMALL = ("3 × 3", "one channel", "sixteen channels, 1 × 1", "stride 2, an even kernel, odd padding", "groups")


def oracle(rung, arrays, options):
    """The result of the literal loops, which leave out cells outside the image."""
    with backends.use("formula"), np.errstate(invalid="ignore"):
        return getattr(conv2d, rung.equation.partition(".")[2])(*(a.astype("float64") for a in arrays), **options)
