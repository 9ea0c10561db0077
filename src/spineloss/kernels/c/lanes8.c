/* The kernels for processors with AVX2. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v3")
#include <immintrin.h>
#define LANES 8
#define SMALLER _mm256_min_ps
#define LARGER _mm256_max_ps
#define STREAM _mm256_stream_ps
#define BLEND(where, yes, no) _mm256_blendv_ps(no, yes, (vec)(where))
#include "kernels.h"
#endif
