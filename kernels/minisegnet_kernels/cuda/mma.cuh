// A product of small matrices on the tensor cores, computed by the 32 threads (lanes) of a warp together: D = A B + C with A
// (16 × 8) and B (8 × 8) in TF32 and C, D (16 × 8) in float32. One instruction, mma.m16n8k8, does 1024 multiplications and
// additions. No lane holds a whole matrix; each holds a few elements, its fragment, in registers. With
// group = lane / 4 and member = lane % 4 a lane holds (PTX ISA, "Matrix fragments for mma.m16n8k8", .tf32):
//
//     A  row, column (k)              B  row (k), column               C, D  row, column
//     a0 group,     member            b0 member,     group             c0 group,     2 member
//     a1 group + 8, member            b1 member + 4, group             c1 group,     2 member + 1
//     a2 group,     member + 4                                         c2 group + 8, 2 member
//     a3 group + 8, member + 4                                         c3 group + 8, 2 member + 1
//
// TF32 is float32 with 10 bits of fraction instead of 23. The instruction ignores the last 13 bits of A and B, which truncates
// (an error up to 2⁻¹⁰); rounding first, with to_tf32, halves the error to 2⁻¹¹.
// A product of two such numbers is exact in float32.
#pragma once

#ifndef EMULATOR

// The nearest TF32 number; halves away from zero.
__device__ inline float to_tf32(float a) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(a));
    return __uint_as_float(bits);
}

// c += A B. Every lane of the warp must come here.
__device__ inline void mma_m16n8k8(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

#else

inline float to_tf32(float a) {
    if (!std::isfinite(a)) return a;
    return __int_as_float((__float_as_int(a) + 0x1000) & ~0x1fff);  // rounds the magnitude: the sign is a separate bit
}

// An input as the instruction sees it: its last 13 bits are ignored.
[[gnu::no_sanitize_thread]] inline double tf32_cut__(float a) { return std::isnan(a) ? a : __int_as_float(__float_as_int(a) & ~0x1fff); }

// The lanes hand each other their fragments. The eight products and c are added exactly and rounded once; a tensor core adds differently,
// so its last bits differ.
[[gnu::noinline, gnu::no_sanitize_thread]] inline void mma_m16n8k8(float (&c)[4], const float (&a)[4], const float (&b)[2], HERE) {
    struct Fragments {
        float a[4], b[2];
    };
    const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    Fragments of[32];
    emulator::gather(&mine, sizeof mine, of, site);
    const int group = emulator::lane() / 4, member = emulator::lane() % 4;
    for (int r = 0; r < 4; ++r) {
        const int row = group + r / 2 * 8, column = 2 * member + r % 2;
        double sum = c[r];
        for (int k = 0; k < 8; ++k)
            sum += tf32_cut__(of[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2]) * tf32_cut__(of[column * 4 + k % 4].b[k / 4]);
        c[r] = float(sum);
    }
}

#endif
