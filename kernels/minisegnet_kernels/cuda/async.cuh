// Asynchronous copies from global to shared memory that bypass the registers: a thread starts copies, works on something else,
// and waits when it needs them. Copies are committed in groups, and the argument of a wait is the number of latest groups that may still
// be in flight:
//
//     copy_async(&tile[k], &x(k));      started; the content of `tile` is undefined until the wait
//     commit_copies();                  commits a group
//     wait_for_copies<1>();             all groups but the latest have arrived: this thread sees *its own* copies;
//     __syncthreads();                  and now every thread sees all of them
//
// Both addresses are multiples of sizeof(T), which is 4, 8 or 16 (float, float2, float4).
#pragma once

#ifndef EMULATOR

// *to = present ? *from : 0; `from` is not read if it is not present.
template <typename T>
__device__ inline void copy_async(T* to, const T* from, bool present = true) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16, "cp.async copies 4, 8 or 16 bytes");
    const unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int bytes = present ? sizeof(T) : 0;
    if constexpr (sizeof(T) == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes) : "memory");
    else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from), "n"(sizeof(T)), "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int IN_FLIGHT>
__device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(IN_FLIGHT) : "memory");
}

#else

template <typename T>
inline void copy_async(T* to, const T* from, bool present = true, HERE) {
    if (uintptr_t(to) % sizeof(T) || uintptr_t(from) % sizeof(T))
        emulator::fail("thread %d, at %s:%d, copies %d bytes %s an address that is not a multiple of that size", emulator::thread_number(),
                       emulator::base_name(site.file).c_str(), site.line, int(sizeof(T)), uintptr_t(to) % sizeof(T) ? "to" : "from");
    emulator::copy_async(to, from, sizeof(T), present ? sizeof(T) : 0);
}
inline void commit_copies(HERE) { emulator::commit_async(site); }
template <int IN_FLIGHT>
inline void wait_for_copies(HERE) { emulator::wait_async(IN_FLIGHT, site); }

#endif
