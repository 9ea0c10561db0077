/* The compiler's own vectors, of LANES floats. The file that includes this one defines LANES: what a register holds.
   Vectors of another size are spilled to memory, and were measured ten times slower. */
#pragma once
#include <stdint.h>
#include <string.h>

#define BLOCK (64 * LANES) /* voxels: a lane of floats adds up 64 of them, doubles add up the blocks */
#define SIGN INT32_MIN     /* the bit */
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

INLINE vec splat(float value) { return (vec){0} + value; }
#ifdef BLEND
INLINE vec blend(bits where, vec yes, vec no) { return BLEND(where, yes, no); }
#else
INLINE vec blend(bits where, vec yes, vec no) { return (vec)((where & (bits)yes) | (~where & (bits)no)); }
#endif
INLINE vec by_sign(vec x, vec negative, vec positive) { return blend((bits)x >> 31, negative, positive); }
INLINE vec keep(bits where, vec x) { return (vec)(where & (bits)x); } /* x there, 0 elsewhere */
INLINE vec absolute(vec x) { return (vec)((bits)x & 0x7fffffff); }
INLINE int any(bits where) {
    int32_t found = 0;
    for (int i = 0; i < LANES; i++) found |= where[i];
    return found != 0;
}
INLINE vec load(const float *from) { vec v; memcpy(&v, from, sizeof v); return v; }
INLINE bits load_bits(const int32_t *from) { bits v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, vec v) { memcpy(to, &v, sizeof v); }

/* Stores past the caches, where the processor can: memory that is written whole need not be read first. `fence` comes
   before other threads read what was stored so. */
#ifdef STREAM
INLINE void stream(float *to, vec v) {
    if ((uintptr_t)to % sizeof v) store(to, v);
    else STREAM(to, v);
}
INLINE void fence(void) { _mm_sfence(); }
#else
INLINE void stream(float *to, vec v) { store(to, v); }
INLINE void fence(void) {}
#endif

/* Where either is NaN, b. The compiler makes no single instruction of the portable form. */
#ifdef SMALLER
INLINE vec vmin(vec a, vec b) { return SMALLER(a, b); }
INLINE vec vmax(vec a, vec b) { return LARGER(a, b); }
#else
INLINE vec vmin(vec a, vec b) { return blend(a < b, a, b); }
INLINE vec vmax(vec a, vec b) { return blend(a > b, a, b); }
#endif

/* The name of a library function, which is compiled once for each width of vectors. */
#define JOIN(name, lanes) name##_##lanes
#define NAMED(name, lanes) JOIN(name, lanes)
#define KERNEL(name) NAMED(name, LANES)
