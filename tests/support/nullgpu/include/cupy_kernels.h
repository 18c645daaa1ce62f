// What a kernel that CuPy generates needs beside the emulator's cuda.h. Compiled once, and read in front of CuPy's own source.
#pragma once
#include "emulator.h"

#include <cassert>
#include <initializer_list>
#include <limits>
#include <utility>

#define __shared__ static  // one block runs at a time, and each of its threads is a fiber of one thread of the host
#define __constant__ static const
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict

using std::acos, std::acosh, std::asin, std::asinh, std::atan, std::atan2, std::atanh, std::cbrt, std::copysign, std::cos, std::cosh;
using std::erf, std::erfc, std::exp2, std::expm1, std::fmax, std::fmin, std::fmod, std::frexp, std::hypot, std::isinf, std::ldexp, std::lgamma;
using std::log10, std::log1p, std::log2, std::modf, std::nextafter, std::rint, std::round, std::signbit, std::sin, std::sinh, std::tan;
using std::tanh, std::tgamma, std::trunc;
template <typename T> T rsqrt(T x) { return T(1) / std::sqrt(x); }

// Fibers change only at barriers, so a read and a write are one step. They run in the order of the threads, where a GPU has none.
template <typename T, typename U> T atomicAdd(T* a, U v) { T before = *a; *a = before + T(v); return before; }
template <typename T> T atomicExch(T* a, T v) { T before = *a; *a = v; return before; }
template <typename T> T atomicCAS(T* a, T expected, T v) { T before = *a; if (before == expected) *a = v; return before; }

inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
inline long long min(long long a, int b) { return a < b ? a : b; }
inline unsigned __float_as_uint(float v) { unsigned b; std::memcpy(&b, &v, 4); return b; }
inline float __uint_as_float(unsigned b) { float v; std::memcpy(&v, &b, 4); return v; }
inline long long __double_as_longlong(double v) { long long b; std::memcpy(&b, &v, 8); return b; }
inline double __longlong_as_double(long long b) { double v; std::memcpy(&v, &b, 8); return v; }

namespace nullgpu {
// A kernel is called with one address for each argument, as cuLaunchKernel hands them over; the types follow from its signature.
template <typename... A, size_t... K>
void call(void (*kernel)(A...), void** a, std::index_sequence<K...>) { kernel(*static_cast<std::remove_cv_t<A>*>(a[K])...); }
template <auto Kernel> struct Entry;
template <typename... A, void (*Kernel)(A...)>
struct Entry<Kernel> {
    static void run(void** a) { call(Kernel, a, std::index_sequence_for<A...>()); }
};
}  // namespace nullgpu

#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
