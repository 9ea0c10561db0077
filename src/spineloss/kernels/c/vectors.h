/* The compiler's own vectors, of LANES floats: whoever includes this says how many, just what a register holds.
   Vectors of another size are spilled to memory, and were measured ten times slower. */
#pragma once
#include <stdint.h>
#include <string.h>

#define BLOCK (64 * LANES) /* voxels: a lane of floats adds up 64 of them, doubles do beyond it */
#define SIGN INT32_MIN /* the bit */
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));

INLINE vec all(float value) { return (vec){0} + value; }
INLINE vec choose(bits where, vec yes, vec no) { return (vec)((where & (bits)yes) | (~where & (bits)no)); }
INLINE vec absolute(vec x) { return (vec)((bits)x & 0x7fffffff); }
INLINE vec load(const float *from) { vec v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, vec v) { memcpy(to, &v, sizeof v); }

/* Where either is no number, b. The compiler makes no one instruction of the plain form. */
#ifdef SMALLER
INLINE vec smaller(vec a, vec b) { return SMALLER(a, b); }
INLINE vec larger(vec a, vec b) { return LARGER(a, b); }
#else
INLINE vec smaller(vec a, vec b) { return choose(a < b, a, b); }
INLINE vec larger(vec a, vec b) { return choose(a > b, a, b); }
#endif

/* A function of the library, by a name for each width. */
#define JOIN(name, lanes) name##_##lanes
#define NAMED(name, lanes) JOIN(name, lanes)
#define KERNEL(name) NAMED(name, LANES)
