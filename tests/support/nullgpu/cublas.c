// The null GPU's cuBLAS: matrix products, as plain loops over the host's memory. `build.py` adds all other
// names that CuPy asks for; they answer "not supported". Matrices are stored by columns, as in BLAS.
#include <stddef.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 15 };
enum { REAL_32 = 0, REAL_64 = 1 };  // cudaDataType_t

int cublasCreate_v2(void** handle) { return *handle = (void*)1, SUCCESS; }
int cublasDestroy_v2(void* handle) { return SUCCESS; }
static __thread void* stream;
int cublasSetStream_v2(void* handle, void* s) { return stream = s, SUCCESS; }
int cublasGetStream_v2(void* handle, void** s) { return *s = stream, SUCCESS; }
static __thread int math_mode, pointer_mode;
int cublasSetMathMode(void* handle, int mode) { return math_mode = mode, SUCCESS; }
int cublasGetMathMode(void* handle, int* mode) { return *mode = math_mode, SUCCESS; }
int cublasSetPointerMode_v2(void* handle, int mode) { return pointer_mode = mode, SUCCESS; }
int cublasGetPointerMode_v2(void* handle, int* mode) { return *mode = pointer_mode, SUCCESS; }
int cublasGetVersion_v2(void* handle, int* version) { return *version = 120900, SUCCESS; }

// C = αAB + βC for `batch` matrices; A and B are transposed where ta and tb are not 0. Sums are in double.
#define GEMM(T)                                                                                                                  \
    static int gemm_##T(int ta, int tb, int m, int n, int k, T alpha, const T* a, int lda, long long sa, const T* b, int ldb,    \
                        long long sb, T beta, T* c, int ldc, long long sc, int batch) {                                          \
        for (; batch > 0; --batch, a += sa, b += sb, c += sc)                                                                    \
            for (int j = 0; j < n; ++j)                                                                                          \
                for (int i = 0; i < m; ++i) {                                                                                    \
                    double sum = 0;                                                                                              \
                    for (int l = 0; l < k; ++l)                                                                                  \
                        sum += (double)(ta ? a[l + (size_t)i * lda] : a[i + (size_t)l * lda]) * (tb ? b[j + (size_t)l * ldb] : b[l + (size_t)j * ldb]); \
                    T* at = c + i + (size_t)j * ldc;                                                                             \
                    *at = (T)(alpha * sum + (beta == 0 ? 0 : beta * *at));                                                       \
                }                                                                                                                \
        return SUCCESS;                                                                                                          \
    }
GEMM(float)
GEMM(double)

int cublasSgemm_v2(void* h, int ta, int tb, int m, int n, int k, const float* alpha, const float* a, int lda, const float* b, int ldb,
                   const float* beta, float* c, int ldc) {
    return gemm_float(ta, tb, m, n, k, *alpha, a, lda, 0, b, ldb, 0, *beta, c, ldc, 0, 1);
}
int cublasDgemm_v2(void* h, int ta, int tb, int m, int n, int k, const double* alpha, const double* a, int lda, const double* b, int ldb,
                   const double* beta, double* c, int ldc) {
    return gemm_double(ta, tb, m, n, k, *alpha, a, lda, 0, b, ldb, 0, *beta, c, ldc, 0, 1);
}
int cublasGemmStridedBatchedEx(void* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int type_a, int lda,
                               long long sa, const void* b, int type_b, int ldb, long long sb, const void* beta, void* c, int type_c, int ldc,
                               long long sc, int batch, int compute, int algorithm) {
    if (type_a != type_c || type_b != type_c) return NOT_SUPPORTED;
    if (type_c == REAL_32)
        return gemm_float(ta, tb, m, n, k, *(const float*)alpha, a, lda, sa, b, ldb, sb, *(const float*)beta, c, ldc, sc, batch);
    if (type_c == REAL_64)
        return gemm_double(ta, tb, m, n, k, *(const double*)alpha, a, lda, sa, b, ldb, sb, *(const double*)beta, c, ldc, sc, batch);
    return NOT_SUPPORTED;
}
int cublasGemmEx(void* h, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int type_a, int lda, const void* b, int type_b,
                 int ldb, const void* beta, void* c, int type_c, int ldc, int compute, int algorithm) {
    return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, type_a, lda, 0, b, type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute,
                                      algorithm);
}
