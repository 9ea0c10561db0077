/* The compiler's own vectors, of sixteen floats: no result depends on the width of an instruction set. */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

/* One binary for every x86-64 processor: the widest vectors it has are chosen when it is loaded. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EVERY_PROCESSOR
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

INLINE vec all(float value) { return (vec){0} + value; }
INLINE vec select(bits where, vec yes, vec no) { return (vec)((where & (bits)yes) | (~where & (bits)no)); }
INLINE vec absolute(vec x) { return (vec)((bits)x & 0x7fffffff); }
INLINE vec load(const float *from) { vec v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, vec v) { memcpy(to, &v, sizeof v); }
