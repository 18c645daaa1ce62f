// Stands before CuPy's header of this name, which needs NVIDIA's compiler: the null GPU computes no complex numbers.
#pragma once
template <typename T> struct complex;
template <typename T> struct is_complex__ { static constexpr bool value = false; };
