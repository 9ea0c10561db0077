/* The kernels for processors with AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v4")
#include <immintrin.h>
#define LANES 16
#define SMALLER _mm512_min_ps
#define LARGER _mm512_max_ps
#define STREAM _mm512_stream_ps
#define BLEND(where, yes, no) _mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)(where)), no, yes)
#include "kernels.h"
#endif
