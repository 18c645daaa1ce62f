"""A tile of vector registers, as a value in a compiled kernel.

LLVM's vectoriser does not keep a block of accumulators in registers over a loop, and
without that a convolution on a CPU is bound by loads instead of arithmetic. So the tile
is named here. In a kernel it reads like this, for a tile of ``ROWS × COLS`` registers::

    tile = zeros(x)
    for t in range(terms):
        tile = add_outer(tile, w, t * ROWS, x, offsets[t])   # tile[r, q] += w[r] · x[q]
    store(tile, y, start, pitch)

One register holds ``LANES = REGISTER_BYTES // itemsize`` neighbouring numbers of an array. ``ROWS`` weights times
``COLS`` registers of pixels is chosen so that all accumulators fit in the register file:
32 registers of 64 bytes with AVX-512, 16 of 32 bytes with AVX2, 32 of 16 with NEON.
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
    """One register with the LANES numbers from ``array[index]`` on."""
    address = _pointer(context, builder, array_type, array, index)
    register = _register(array_type.dtype)
    return builder.load(builder.bitcast(address, register.as_pointer()), align=array_type.dtype.bitwidth // 8)


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
def add_outer(typing, tile, w, i, x, j):
    """``tile[r, q] += w[i + r] · x[j + q·LANES : j + (q+1)·LANES]``: an outer product."""

    def generate(context, builder, signature, arguments):
        acc, w_value, i_value, x_value, j_value = arguments
        register = _register(x.dtype)
        pixels = [_load(context, builder, x, x_value, _shifted(builder, j_value, q * register.count)) for q in range(COLS)]
        for r in range(ROWS):
            weight = builder.load(_pointer(context, builder, w, w_value, _shifted(builder, i_value, r)))
            weight = _all_lanes(builder, weight, register)
            for q in range(COLS):
                old = builder.extract_value(acc, r * COLS + q)
                acc = builder.insert_value(acc, _fma(builder, weight, pixels[q], old), r * COLS + q)
        return acc

    return tile(tile, w, types.intp, x, types.intp), generate


@intrinsic
def add_inner(typing, tile, g, i, pitch, x, j0, j1, j2):
    """``tile[r, q] += g[i + r·pitch :] · x[j_q :]``, lane by lane: the terms of inner products."""

    def generate(context, builder, signature, arguments):
        acc, g_value, i_value, pitch_value, x_value, *starts = arguments
        pixels = [_load(context, builder, x, x_value, start) for start in starts]
        for r in range(ROWS):
            row = _load(context, builder, g, g_value, builder.add(i_value, builder.mul(pitch_value, ir.Constant(pitch_value.type, r))))
            for q in range(COLS):
                old = builder.extract_value(acc, r * COLS + q)
                acc = builder.insert_value(acc, _fma(builder, row, pixels[q], old), r * COLS + q)
        return acc

    return tile(tile, g, types.intp, types.intp, x, types.intp, types.intp, types.intp), generate


@intrinsic
def store(typing, tile, y, i, pitch):
    """``y[i + r·pitch + q·LANES + lane] = tile[r, q]``."""

    def generate(context, builder, signature, arguments):
        acc, y_value, i_value, pitch_value = arguments
        register = _register(y.dtype)
        for r in range(ROWS):
            row = builder.add(i_value, builder.mul(pitch_value, ir.Constant(pitch_value.type, r)))
            for q in range(COLS):
                address = _pointer(context, builder, y, y_value, _shifted(builder, row, q * register.count))
                builder.store(
                    builder.extract_value(acc, r * COLS + q), builder.bitcast(address, register.as_pointer()), align=y.dtype.bitwidth // 8
                )
        return context.get_dummy_value()

    return types.none(tile, y, types.intp, types.intp), generate


@intrinsic
def add_sums(typing, tile, y, i):
    """``y[i + r·COLS + q] += Σ_lanes tile[r, q]``."""

    def generate(context, builder, signature, arguments):
        acc, y_value, i_value = arguments
        register, number = _register(y.dtype), _register(y.dtype).element
        suffix = f"v{register.count}f{y.dtype.bitwidth}"
        total = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(number, [number, register]), f"llvm.vector.reduce.fadd.{suffix}"
        )
        for k in range(ROWS * COLS):
            address = _pointer(context, builder, y, y_value, _shifted(builder, i_value, k))
            add = builder.call(total, [builder.load(address), builder.extract_value(acc, k)], fastmath=("reassoc",))
            builder.store(add, address)
        return context.get_dummy_value()

    return types.none(tile, y, types.intp), generate
