/* The kernels for processors with AVX2. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v3")
#define LANES 8
#include "kernels.h"
#endif
