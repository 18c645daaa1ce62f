"""The host side of ``kernel.cu``: results are made, the form of each kernel is chosen, kernels are launched.

`RULE` says which rung of the ladder a case goes to. What no rung serves takes a plain form of ``kernel.cu``:
`_channels_at_once` is the rule for the tiles, which cases they serve and how large they are; what they do not serve and is
wide enough goes to the implicit GEMM, and everything else takes the direct form. `BY_HAND` are the rungs that no case goes to
by itself: `backends.use_rung` chooses them, as any other.
"""

from math import prod

from .. import backends
from ..batch_norm import kernel as batch_norm
from ..cuda import THREADS, Module, blocks
from ..layout import is_channels_last, poisoned
from ._geometry import output_shape, window

_cu = Module(__file__)

#: As in kernel.cu: pixels of a tile, and output channels of a thread.
_ROWS, _COLUMNS, _OUTPUTS = 8, 32, 4
#: Bytes of shared memory that a block has without asking for more, on every GPU.
_SHARED = 48 * 1024
#: Threads that keep a GPU busy.
_BUSY = 2**16

#: The rungs that each equation is sent to, the fastest first: the first one that serves the case and is worth it is taken.
#: Rungs whose products are rounded to TF32 are passed over where `backends.allow_tf32` says no.
RULE = {
    "conv2d.forward": ("tf32_tuned", "winograd", "tf32", "asynchronous"),
    "conv2d.grad_input": ("tf32_tuned", "winograd", "tf32", "asynchronous"),
    "conv2d.grad_weight": ("tf32_tuned", "asynchronous"),
}
#: The rungs of the forward equation that take what is left, by `_forward`.
PLAIN = ("tile", "implicit_gemm", "direct")
#: The other rungs, and why no case goes to them by itself.
BY_HAND = {"register_tile": "the asynchronous rung serves the same cases, and does not wait for memory"}
#: Channels of the result (in a group) from which on a product of matrices is worth it: a tile has 64, or 16 in the implicit GEMM.
_WIDE = 16


def _is_worth_it(rung, taps, channels, width, last):
    """Whether a rung is worth it for a result of `width` channels from sums over `channels` and `taps`, of a group.

    By counts of the emulator and by the rungs' estimates (docs/ladder.md); none of it has been measured on a GPU. The tile of
    tf32_tuned is 32 channels wide; a 1 × 1 kernel it reads once, and with two channels it is still as fast as the plain forms.
    Winograd's is 32 wide where those of the asynchronous rung and of rung 6 are 64: up to there it makes a 4.5th of the
    products. For more it makes up to 2.25 times fewer, which its transforms use up in part, so there it is left to be chosen
    by hand; but not where the channels are no multiple of four, which the asynchronous rung does not serve.
    """
    if rung.name == "winograd":
        alone = channels % 4 != 0 and not backends.tf32_allowed()
        return last and width >= _WIDE and (width <= 32 or alone)
    return width >= (2 if rung.name == "tf32_tuned" and taps == 1 and rung.equation != "conv2d.grad_weight" else _WIDE)


def forward(x, w, b, *, stride, padding, dilation, groups):
    return _forward(x, w, b, False, stride, padding, dilation, groups)


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    return _forward(x, w, b, True, stride, padding, dilation, groups)


def _forward(x, w, b, relu, stride, padding, dilation, groups):
    from .ladder import find  # here, because the first rungs of the ladder are this file's

    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if rung := _rung("conv2d.forward", x.shape, w.shape, w.shape[1], w.shape[0] // groups, options, x):
        return rung.program(x, w, b, relu=relu, **options)
    output = output_shape(x, w, stride, padding, dilation)[2:]
    channels = _channels_at_once(w.shape[1], w.shape[2:], output, stride, dilation, x.itemsize)
    if channels:
        return _tile(x, w, b, relu=relu, channels=channels, **options)
    if w.shape[0] // groups >= _WIDE and prod(w.shape[1:]) >= _WIDE:
        return find("implicit_gemm").program(x, w, b, relu=relu, **options)
    return _direct(x, w, b, relu=relu, **options)


def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    """The slabs come from the epilogue of the rung if it has one; if not, from a pass over y, as batch normalisation makes it."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    rung = _rung("conv2d.forward", x.shape, w.shape, w.shape[1], w.shape[0] // groups, options, x)
    if rung and rung.with_statistics:
        y, slabs = rung.with_statistics(x, w, b, **options)
    else:
        y = forward(x, w, b, **options)
        slabs = batch_norm._moments(y)
    O = y.shape[1]
    mu, nu = poisoned(b, (O,)), poisoned(b, (O,))
    _cu.launch("conv2d_forward_statistics__merge", (O,), (THREADS,), *slabs, y.size // O, mu, nu, THREADS=THREADS)
    return y, mu, nu


def _rung(equation, x_shape, w_shape, channels, width, options, *images):
    """The rung that was chosen by hand, or the one that `RULE` gives a case; None if there is none. Parameters as of `_is_worth_it`."""
    from .ladder import find, lies_channels_last

    last = all(lies_channels_last(a) for a in images)
    case = (x_shape, w_shape, options, images[0].dtype, last)
    if name := backends.chosen_rung(equation):
        rung = find(name, equation)
        rung.check(*case)
        if rung.tf32 and not backends.tf32_allowed():
            raise backends.BackendError(f"{equation}: rung {rung.label} ({name}) rounds to TF32, and allow_tf32(False) forbids it")
        return rung
    for name in RULE[equation]:
        rung = find(name, equation)
        allowed = backends.tf32_allowed() or not rung.tf32
        if allowed and _is_worth_it(rung, prod(w_shape[2:]), channels, width, last) and rung.serves(*case):
            return rung
    return None


def _direct(x, w, b, *, relu=False, stride, padding, dilation, groups):
    """The direct form, rung 1 of the ladder: one thread an output."""
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    _cu.over(_named(relu), y.size, x, w, b, y, window(stride, padding, dilation), groups)
    return y


def _tile(x, w, b, *, relu=False, channels=None, stride, padding, dilation, groups):
    """The tile form, rung 2 of the ladder; `channels` are staged at a time, by default as many as fit, up to 8."""
    y = poisoned(x, output_shape(x, w, stride, padding, dilation))
    channels = channels or min(w.shape[1], 8, _fits_in_shared(w.shape[2:], stride, dilation, x.itemsize))
    at = window(stride, padding, dilation)
    _over_tiles(f"{_named(relu)}__tile", y, w, groups, stride, dilation, channels, x, w, b, y, at, groups, channels)
    return y


def _named(relu):
    return "conv2d_forward_relu" if relu else "conv2d_forward"


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    x_shape = (g.shape[0], w.shape[1] * groups, *input_size)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if rung := _rung("conv2d.grad_input", x_shape, w.shape, w.shape[0] // groups, w.shape[1], options, g):
        return rung.program(g, w, input_size=input_size, **options)
    xbar = poisoned(g, x_shape)
    channels = _channels_at_once(w.shape[0] // groups, w.shape[2:], input_size, stride, dilation, g.itemsize)
    if stride == (1, 1) and channels:
        outside = [d * (u - 1) - p for d, u, (p, _) in zip(dilation, w.shape[2:], padding, strict=True)]
        turned, at = _turned(w, groups), (*stride, *outside, *dilation)
        _over_tiles("conv2d_grad_input__tile", xbar, turned, groups, stride, dilation, channels, g, turned, xbar, at, groups, channels)
    else:
        _cu.over("conv2d_grad_input", xbar.size, g, w, xbar, window(stride, padding, dilation), groups)
    return xbar


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    (N, O, P, Q), Cg = g.shape, x.shape[1] // groups
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if rung := _rung("conv2d.grad_weight", x.shape, (O, Cg, *kernel_size), N * P * Q, O // groups, options, g, x):
        return rung.program(g, x, kernel_size=kernel_size, **options)
    wbar = poisoned(g, (O, Cg, *kernel_size))
    at, taps = window(stride, padding, dilation), prod(kernel_size)
    staged = _ROWS * _COLUMNS * _OUTPUTS * g.itemsize
    channels = _channels_at_once(Cg, kernel_size, (P, Q), stride, dilation, g.itemsize, most=THREADS // taps, staged=staged)
    if channels and g.size:
        tiles = N * blocks(P, _ROWS) * blocks(Q, _COLUMNS)
        grid = groups * blocks(O // groups, _OUTPUTS) * blocks(Cg, channels)
        slabs = poisoned(g, (_slabs(tiles, _ROWS * _COLUMNS, grid * THREADS) * O, Cg, *kernel_size))
        shared = staged + channels * _halo(kernel_size, stride, dilation) * g.itemsize
        threads = blocks(channels * taps, 32) * 32
        grid *= slabs.shape[0] // O
        _cu.launch("conv2d_grad_weight__tile", (grid,), (threads,), g, x, slabs, at, groups, channels, shared=shared)
    else:
        slabs = poisoned(g, (_slabs(N * P, Q, wbar.size) * O, Cg, *kernel_size))
        _cu.over("conv2d_grad_weight", slabs.size, g, x, slabs, at, groups)
    _cu.over("conv2d_grad_weight__sum", wbar.size, slabs, wbar)
    return wbar


def grad_bias(g):
    N, O, P, Q = g.shape
    pixels = N * P * Q
    if is_channels_last(g):
        slabs = poisoned(g, (_slabs(pixels, 1, O), O))
        _cu.over("conv2d_grad_bias__channels_last", slabs.size, g, slabs)
    else:
        slabs = poisoned(g, (_slabs(blocks(pixels, 128), 128, 128 * O), O))
        if O:
            _cu.launch("conv2d_grad_bias", (slabs.size,), (128,), g, slabs, THREADS=128)
    bbar = poisoned(g, (O,))
    if O:
        _cu.launch("conv2d_grad_bias__sum", (O,), (32,), slabs, bbar, THREADS=32)
    return bbar


def _halo(kernel_size, stride, dilation):
    """Cells of one input channel under a tile."""
    axes = zip((_ROWS, _COLUMNS), kernel_size, stride, dilation, strict=True)
    return prod((pixels - 1) * s + (taps - 1) * d + 1 for pixels, taps, s, d in axes)


def _channels_at_once(channels, kernel_size, output, stride, dilation, itemsize, *, most=8, staged=None):
    """How many of the `channels` that are summed over (of a weight gradient: that it has) a block stages; 0: take the direct form.

    A tile serves a case well if cells of the input are used by several pixels (a kernel of more than one
    cell), if at least half of its threads have a pixel, and if shared memory holds it.

    Parameters
    ----------
    output : (int, int)
        Size of what is cut into tiles.
    most : int
        8 channels of float32 are a whole 32-byte sector of memory where the channels lie innermost.
    staged : int, optional
        Bytes that stand beside the cells; by default the weights of as many channels.
    """
    pixels, taps = prod(output), prod(kernel_size)
    if taps == 1 or 2 * pixels < prod(blocks(size, tile) * tile for size, tile in zip(output, (_ROWS, _COLUMNS), strict=True)):
        return 0
    return min(channels, most, _fits_in_shared(kernel_size, stride, dilation, itemsize, staged))


def _fits_in_shared(kernel_size, stride, dilation, itemsize, staged=None):
    """How many channels of a tile shared memory holds; parameters as of `_channels_at_once`."""
    one = _halo(kernel_size, stride, dilation) + (prod(kernel_size) * _OUTPUTS if staged is None else 0)
    return (_SHARED - (staged or 0)) // (one * itemsize)


def _over_tiles(kernel, y, w, groups, stride, dilation, channels, *arguments):
    """One block for each tile of pixels of y and each four of its channels."""
    N, O, P, Q = y.shape
    grid = N * blocks(P, _ROWS) * blocks(Q, _COLUMNS) * groups * blocks(O // groups, _OUTPUTS)
    cells = _halo(w.shape[2:], stride, dilation) + prod(w.shape[2:]) * _OUTPUTS
    if y.size:
        _cu.launch(kernel, (grid,), (_ROWS * _COLUMNS,), *arguments, shared=channels * cells * y.itemsize)


def _turned(w, groups):
    """(O, C/G, U, V) → (C, O/G, U, V), turned by 180°; a view, unless there are several groups of several channels."""
    O, Cg, U, V = w.shape
    grouped = w.reshape(groups, O // groups, Cg, U, V).swapaxes(1, 2)
    return grouped.reshape(groups * Cg, O // groups, U, V)[:, :, ::-1, ::-1]


def _slabs(shares, terms, results):
    """Into how many slabs a sum over `shares` × `terms` products is cut; it depends on nothing but shapes.

    Enough that _BUSY threads have work although there are few `results`, and that no thread adds more than
    4096 products one after another, which would cost time and, in float32, digits.
    """
    wanted = max(blocks(_BUSY, max(results, 1)), blocks(shares * terms, 4096))
    return max(1, min(shares, wanted))
