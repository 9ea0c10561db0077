/* The kernels for processors with AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("arch=x86-64-v4")
#define LANES 16
#include "kernels.h"
#endif
