// CUDA's keywords, types and built-in functions for a .cu file that is compiled for the CPU. It is included in
// front of the file. The machine behind it (threads, barriers, memory) is emulator.cpp.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define EMULATOR 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace emulator {

// Where a barrier, a wait or a shuffle stands in the source: default arguments are evaluated by the caller.
struct Site {
    const char* file;
    int line;
};

struct Builtins {
    dim3 thread, block, block_size, grid_size;
};
extern Builtins now;  // of the thread that runs

void barrier(Site site);
void warp_barrier(unsigned mask, Site site);
// Give `size` bytes to the other lanes of the warp and get the bytes of lane `from` (−1: this lane).
void exchange(unsigned mask, const void* mine, void* theirs, size_t size, int from, Site site);
unsigned ballot(unsigned mask, bool vote, Site site);
// Give `size` bytes to the other lanes and get the bytes of all 32, in the order of the lanes. All lanes must call it.
void gather(const void* mine, size_t size, void* all, Site site);
int lane();
void* shared_memory(int id, size_t size);
void* dynamic_shared_memory();
void atomic(void* address, size_t size, const void* where);
void copy_async(void* to, const void* from, size_t size, size_t valid);
void commit_async(Site site);
void wait_async(int groups_in_flight, Site site);

}  // namespace emulator

#define threadIdx (emulator::now.thread)
#define blockIdx (emulator::now.block)
#define blockDim (emulator::now.block_size)
#define gridDim (emulator::now.grid_size)
constexpr int warpSize = 32;

#define HERE emulator::Site site = {__builtin_FILE(), __builtin_LINE()}

// --- shared memory ------------------------------------------------------------------------------

// `using name__memory = T[18][18]` and a reference to memory of that type, one for each place in the source and block.
#define SHARED(type, name, extent)    \
    using name##_memory = type extent; \
    name##_memory& name = *static_cast<name##_memory*>(emulator::shared_memory(emulator::place(#name, __LINE__), sizeof(name##_memory)))
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator::dynamic_shared_memory())

namespace emulator {
constexpr int place(const char* name, unsigned line) { return *name ? place(name + 1, line * 31 + unsigned(*name)) : int(line & 0x7fffffff); }
}  // namespace emulator

// --- barriers and warps -------------------------------------------------------------------------

inline void __syncthreads(HERE) { emulator::barrier(site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, HERE) { emulator::warp_barrier(mask, site); }

template <typename T>
T shuffle__(unsigned mask, T value, int from, emulator::Site site) {
    T result = value;
    emulator::exchange(mask, &value, &result, sizeof(T), from, site);
    return result;
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, HERE) {
    return shuffle__(mask, value, emulator::lane() / width * width + from % width, site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HERE) {
    int from = emulator::lane() + int(delta);
    return shuffle__(mask, value, from / width == emulator::lane() / width ? from : -1, site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HERE) {
    int from = emulator::lane() - int(delta);
    return shuffle__(mask, value, from >= emulator::lane() / width * width ? from : -1, site);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, HERE) {
    int from = emulator::lane() ^ bits;
    return shuffle__(mask, value, from / width == emulator::lane() / width ? from : -1, site);
}
inline unsigned __ballot_sync(unsigned mask, bool vote, HERE) { return emulator::ballot(mask, vote, site); }
inline bool __any_sync(unsigned mask, bool vote, HERE) { return emulator::ballot(mask, vote, site) != 0; }
inline bool __all_sync(unsigned mask, bool vote, HERE) { return emulator::ballot(mask, vote, site) == mask; }

// --- atomics ------------------------------------------------------------------------------------

// Fibers switch only at barriers, so a plain read and write is one indivisible step. The watch gets one note of an
// atomic, not the two accesses, because atomics of several threads at one address are not a race. Only atomics whose
// result does not depend on the order are offered: on integers, and without the old value as a result.
template <typename T, typename Choose>
[[gnu::noinline, gnu::no_sanitize_thread]] void atomically__(T* address, T value, Choose chosen) {
    static_assert(std::is_integral_v<T>, "atomics on floats make a result depend on the order of the threads");
    emulator::atomic(address, sizeof(T), __builtin_return_address(0));
    *address = chosen(*address, value);
}
template <typename T>
[[gnu::always_inline]] inline void atomicMin(T* address, T value) {
    atomically__(address, value, [] [[gnu::no_sanitize_thread]] (T a, T b) { return b < a ? b : a; });
}
template <typename T>
[[gnu::always_inline]] inline void atomicMax(T* address, T value) {
    atomically__(address, value, [] [[gnu::no_sanitize_thread]] (T a, T b) { return a < b ? b : a; });
}

// --- vector types and mathematics -----------------------------------------------------------------

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }

using std::exp, std::log, std::sqrt, std::pow, std::fabs, std::floor, std::ceil, std::fma, std::abs, std::isnan, std::isfinite, std::nan;
template <typename T> inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> inline T max(T a, T b) { return a < b ? b : a; }
template <typename T> inline T __ldg(const T* p) {
    if constexpr (std::is_arithmetic_v<T>) return *static_cast<const volatile T*>(p);  // read here, not in a later branch
    else return *p;
}
inline float __int_as_float(int bits) { float f; std::memcpy(&f, &bits, 4); return f; }
inline int __float_as_int(float f) { int bits; std::memcpy(&bits, &f, 4); return bits; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
