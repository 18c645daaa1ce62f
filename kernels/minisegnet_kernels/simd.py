"""A tile of vector registers, as a value in a compiled kernel.

A convolution on a CPU is limited by arithmetic only if its accumulators stay in registers over
the whole sum; otherwise loads and stores limit it. LLVM's vectoriser does not keep a block of
accumulators in registers, so this module makes the block, a *tile* of ``ROWS × COLS`` vector
registers, a value of its own. In a kernel it reads like this::

    tile = zeros(x)
    for t in range(terms):
        tile = add_outer(tile, w, t * ROWS, x, starts, h, offset[t])   # tile[r, q] += w[r] · x[q]

A register holds two *runs* of neighbouring numbers, each with its own start, so that image rows
shorter than a register fill it too. The accumulators of ``ROWS`` weights times ``COLS`` registers
of pixels fit in the register file: 32 registers of 64 bytes with AVX-512, 16 of 32 bytes with
AVX2, 32 of 16 bytes with NEON.
"""

import platform

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.datamodel import models, register_default
from numba.extending import intrinsic

_features = binding.get_host_cpu_features()
_avx512, _x86 = bool(_features.get("avx512f")), platform.machine().lower() in ("x86_64", "amd64")
REGISTER_BYTES = 64 if _avx512 else 32 if _x86 else 16
ROWS, COLS = (4, 3) if _x86 and not _avx512 else (8, 3)


class _Tile(types.Type):
    """The type of a tile: ``ROWS × COLS`` registers of float32 or float64."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Tile({dtype}, {ROWS}x{COLS}x{REGISTER_BYTES})")


@register_default(_Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.ArrayType(_register(fe_type.dtype), ROWS * COLS))


def _register(dtype):
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), REGISTER_BYTES * 8 // dtype.bitwidth)


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _load(context, builder, array_type, array, index):
    """One register, loaded from ``array[index]`` and the elements behind it."""
    return _load_vector(context, builder, array_type, array, index, _register(array_type.dtype))


def _load_vector(context, builder, array_type, array, index, vector):
    address = _pointer(context, builder, array_type, array, index)
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=array_type.dtype.bitwidth // 8)


def _load_runs(context, builder, array_type, array, starts_type, starts, h, offset):
    """One register with the run at ``starts[h] + offset`` and the one at ``starts[h + 1] + offset``."""
    register = _register(array_type.dtype)
    run = ir.VectorType(register.element, register.count // 2)
    halves = []
    for k in range(2):
        start = builder.load(_pointer(context, builder, starts_type, starts, _shifted(builder, h, k)))
        halves.append(_load_vector(context, builder, array_type, array, builder.add(start, offset), run))
    return builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(ir.IntType(32), register.count), list(range(register.count))))


def _all_lanes(builder, number, register):
    """One register with the same number in each lane."""
    first = builder.insert_element(ir.Constant(register, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, ir.Constant(register, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), register.count), [0] * register.count)
    )


def _fma(builder, a, b, c):
    """a · b + c, rounded once, in each lane."""
    register = a.type
    name = f"llvm.fma.v{register.count}f{'32' if isinstance(register.element, ir.FloatType) else '64'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(register, [register] * 3), name)
    return builder.call(function, [a, b, c])


def _shifted(builder, index, by):
    return builder.add(index, ir.Constant(index.type, by))


@intrinsic
def zeros(typing, like):
    """A tile of zeros, of the dtype of the array ``like``."""
    tile = _Tile(like.dtype)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like), generate


@intrinsic
def add_outer(typing, tile, w, i, x, starts, h, offset):
    """``tile[r, q] += w[i + r] · x[runs starts[h + 2q], starts[h + 2q + 1], each + offset]``."""

    def generate(context, builder, signature, arguments):
        acc, w_value, i_value, x_value, starts_value, h_value, offset_value = arguments
        register = _register(x.dtype)
        pixels = [
            _load_runs(context, builder, x, x_value, starts, starts_value, _shifted(builder, h_value, 2 * q), offset_value)
            for q in range(COLS)
        ]
        for r in range(ROWS):
            weight = builder.load(_pointer(context, builder, w, w_value, _shifted(builder, i_value, r)))
            weight = _all_lanes(builder, weight, register)
            for q in range(COLS):
                old = builder.extract_value(acc, r * COLS + q)
                acc = builder.insert_value(acc, _fma(builder, weight, pixels[q], old), r * COLS + q)
        return acc

    return tile(tile, w, types.intp, x, starts, types.intp, types.intp), generate


@intrinsic
def add_inner(typing, tile, g, i, pitch, x, starts, h, j0, j1, j2):
    """``tile[r, q] += g[i + r·pitch :] · x[runs starts[h], starts[h + 1], each + j_q]``, lane by lane."""

    def generate(context, builder, signature, arguments):
        acc, g_value, i_value, pitch_value, x_value, starts_value, h_value, *offsets = arguments
        pixels = [_load_runs(context, builder, x, x_value, starts, starts_value, h_value, offset) for offset in offsets]
        for r in range(ROWS):
            row = _load(context, builder, g, g_value, builder.add(i_value, builder.mul(pitch_value, ir.Constant(pitch_value.type, r))))
            for q in range(COLS):
                old = builder.extract_value(acc, r * COLS + q)
                acc = builder.insert_value(acc, _fma(builder, row, pixels[q], old), r * COLS + q)
        return acc

    integer = types.intp
    return tile(tile, g, integer, integer, x, starts, integer, integer, integer, integer), generate


@intrinsic
def store(typing, tile, rows, y, to, h, plane, b, o, relu):
    """``y[run to[h + m], + r·plane] = tile[r, run m] + b[o + r]`` for r < rows; with `relu`, negative values become 0."""

    def generate(context, builder, signature, arguments):
        acc, rows_value, y_value, to_value, h_value, plane_value, b_value, o_value, relu_value = arguments
        register = _register(y.dtype)
        run = ir.VectorType(register.element, register.count // 2)
        zero = ir.Constant(register, None)
        halves = [ir.Constant(ir.VectorType(ir.IntType(32), run.count), [k * run.count + j for j in range(run.count)]) for k in range(2)]
        rectify = builder.trunc(relu_value, ir.IntType(1))
        for r in range(ROWS):
            with builder.if_then(builder.icmp_signed("<", ir.Constant(rows_value.type, r), rows_value), likely=True):
                bias = _all_lanes(builder, builder.load(_pointer(context, builder, b, b_value, _shifted(builder, o_value, r))), register)
                below = builder.mul(plane_value, ir.Constant(plane_value.type, r))
                for q in range(COLS):
                    value = builder.fadd(builder.extract_value(acc, r * COLS + q), bias)
                    negative = builder.fcmp_ordered("<", value, zero)  # False for a NaN, which stays
                    value = builder.select(rectify, builder.select(negative, zero, value), value)
                    for k, half in enumerate(halves):
                        start = builder.load(_pointer(context, builder, to, to_value, _shifted(builder, h_value, 2 * q + k)))
                        address = _pointer(context, builder, y, y_value, builder.add(start, below))
                        part = builder.shuffle_vector(value, zero, half)
                        builder.store(part, builder.bitcast(address, run.as_pointer()), align=y.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(tile, types.intp, y, to, types.intp, types.intp, b, types.intp, types.boolean), generate


@intrinsic
def spill(typing, tile, y):
    """Write all numbers of the tile to y, row by row."""

    def generate(context, builder, signature, arguments):
        acc, y_value = arguments
        register = _register(y.dtype)
        for k in range(ROWS * COLS):
            address = _pointer(context, builder, y, y_value, ir.Constant(ir.IntType(64), k * register.count))
            builder.store(builder.extract_value(acc, k), builder.bitcast(address, register.as_pointer()), align=y.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(tile, y), generate


@intrinsic
def add_sums(typing, tile, y, i, pitch):
    """``y[i + r·pitch + q] += Σ_lanes tile[r, q]``."""

    def generate(context, builder, signature, arguments):
        acc, y_value, i_value, pitch_value = arguments
        register = _register(y.dtype)
        suffix = f"v{register.count}f{y.dtype.bitwidth}"
        kind = ir.FunctionType(register.element, [register.element, register])
        total = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.{suffix}")
        for r in range(ROWS):
            row = builder.add(i_value, builder.mul(pitch_value, ir.Constant(pitch_value.type, r)))
            for q in range(COLS):
                address = _pointer(context, builder, y, y_value, _shifted(builder, row, q))
                add = builder.call(total, [builder.load(address), builder.extract_value(acc, r * COLS + q)], fastmath=("reassoc",))
                builder.store(add, address)
        return context.get_dummy_value()

    return types.none(tile, y, types.intp, types.intp), generate
