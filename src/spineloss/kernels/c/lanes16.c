/* The kernels for processors with AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v4")
#include <immintrin.h>
#define LANES 16
#define SMALLER _mm512_min_ps
#define LARGER _mm512_max_ps
#include "kernels.h"
#endif
