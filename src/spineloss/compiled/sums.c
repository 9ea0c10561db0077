/* Sums over voxels of what the region and distribution losses are made of, and their gradient: one pass each.

   For a logit x and a target y, with p = 1 / (1 + exp(-x)):
     overlap    min(p, y)
     predicted  p
     true       y
     entropy    (1 - exp(-c))^gamma c,  c = max(x, 0) - x y + log(1 + exp(-|x|)),  for each gamma

   Vectors are the compiler's own, of sixteen floats, so the result depends on no instruction set's width.
   Floats add up within a block only, doubles beyond it. */
#include <stdint.h>
#include <string.h>

#define LANES 16
#define BLOCK 1024
#define MOST_GAMMAS 8
#define INLINE static inline __attribute__((always_inline))

/* One binary for every x86-64 processor: the widest vectors it has are chosen when it is loaded. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EVERY_PROCESSOR
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t bits __attribute__((vector_size(4 * LANES)));
typedef uint16_t shorts __attribute__((vector_size(2 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES)));

INLINE vec all(float value) { return (vec){0} + value; }
INLINE vec select(bits where, vec yes, vec no) { return (vec)((where & (bits)yes) | (~where & (bits)no)); }
INLINE vec absolute(vec x) { return (vec)((bits)x & 0x7fffffff); }

/* exp(x) for x <= 0; below -87, where it would be no normal float, exp(-87). */
INLINE vec exponential(vec x) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = select(x < -87.0f, all(-87.0f), x);
    vec shifted = x * 1.44269504088896341f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec series = all(1.9875691500e-4f);
    series = series * r + 1.3981999507e-3f;
    series = series * r + 8.3334519073e-3f;
    series = series * r + 4.1665795894e-2f;
    series = series * r + 1.6666665459e-1f;
    series = series * r + 5.0000001201e-1f;
    series = series * r * r + r + 1.0f;
    bits power = ((bits)shifted - (bits)magic + 127) << 23;
    return series * (vec)power;
}

/* 2 artanh(s) = log((1 + s) / (1 - s)) for |s| <= 1/3 */
INLINE vec twice_artanh(vec s) {
    vec q = s * s;
    vec series = all(2.0f / 15);
    series = series * q + 2.0f / 13;
    series = series * q + 2.0f / 11;
    series = series * q + 2.0f / 9;
    series = series * q + 2.0f / 7;
    series = series * q + 2.0f / 5;
    series = series * q + 2.0f / 3;
    series = series * q + 2.0f;
    return series * s;
}

/* log(x) for normal x > 0 */
INLINE vec logarithm(vec x) {
    bits exponent = (((bits)x - 0x3f3504f3) >> 23); /* mantissas from sqrt(1/2) to sqrt(2) */
    vec mantissa = (vec)((bits)x - (exponent << 23));
    vec n = __builtin_convertvector(exponent, vec);
    return n * 0.693147180559945f + twice_artanh((mantissa - 1.0f) / (mantissa + 1.0f));
}

/* 1 - exp(-c) for c >= 0, given right = exp(-c); never 0, so that its logarithm and its ratio to c are finite */
INLINE vec wrongness(vec c, vec right) {
    vec series = all(-1.0f / 720);
    series = series * c + 1.0f / 120;
    series = series * c - 1.0f / 24;
    series = series * c + 1.0f / 6;
    series = series * c - 0.5f;
    series = series * c + 1.0f;
    return select(c < 0.25f, series * c + 1e-30f, 1.0f - right);
}

typedef struct {
    vec p, slope;     /* the probability, and its slope p (1 - p) */
    vec e;            /* exp(-|x|) */
} sigmoid;

INLINE sigmoid sigmoid_of(vec x) {
    vec e = exponential(-absolute(x));
    vec q = 1.0f / (1.0f + e);
    return (sigmoid){select(x < 0.0f, e * q, q), e * q * q, e};
}

INLINE vec entropy_of(vec x, vec y, vec e) {
    vec log1p = twice_artanh(e / (2.0f + e));
    return select(x > 0.0f, x, all(0.0f)) - x * y + log1p;
}

INLINE vec load(const float *from) { vec v; memcpy(&v, from, sizeof v); return v; }

INLINE vec load_target(const void *target, int64_t at, int is_float) {
    if (is_float) return load((const float *)target + at);
    bytes b;
    memcpy(&b, (const uint8_t *)target + at, sizeof b);
    /* Doubling the width is an instruction; in one step compilers fall back to one lane at a time. */
    return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(b, shorts), bits), vec);
}

/* The last, incomplete vector: its missing voxels are sure background, which adds nothing. */
INLINE void load_rest(const float *logits, const void *target, int64_t at, int rest, int is_float, vec *x, vec *y) {
    *x = all(-87.0f);
    *y = all(0.0f);
    for (int i = 0; i < rest; i++) {
        (*x)[i] = logits[at + i];
        (*y)[i] = is_float ? ((const float *)target)[at + i] : ((const uint8_t *)target)[at + i];
    }
}

/* Order of the sums: overlap, predicted, true, entropy (gamma 0), then one for each gamma above 0. */
INLINE void add(vec x, vec y, int entropy, const float *gammas, int count, vec *sums) {
    sigmoid s = sigmoid_of(x);
    sums[0] += select(s.p < y, s.p, y);
    sums[1] += s.p;
    sums[2] += y;
    if (!entropy && !count) return;
    vec c = entropy_of(x, y, s.e);
    if (entropy) sums[3] += c;
    if (!count) return;
    vec log_wrong = logarithm(wrongness(c, exponential(-c)));
    for (int g = 0; g < count; g++) sums[3 + entropy + g] += exponential(log_wrong * gammas[g]) * c;
}

INLINE void sum(const float *logits, const void *target, int is_float, int64_t voxels, int entropy,
                const float *gammas, int count, double *out) {
    int kinds = 3 + entropy + count;
    for (int k = 0; k < kinds; k++) out[k] = 0;
    for (int64_t block = 0; block < voxels; block += BLOCK) {
        vec sums[4 + MOST_GAMMAS] = {0};
        int64_t end = block + BLOCK < voxels ? block + BLOCK : voxels, at = block;
        for (; at + LANES <= end; at += LANES)
            add(load(logits + at), load_target(target, at, is_float), entropy, gammas, count, sums);
        if (at < end) {
            vec x, y;
            load_rest(logits, target, at, (int)(end - at), is_float, &x, &y);
            add(x, y, entropy, gammas, count, sums);
        }
        for (int k = 0; k < kinds; k++)
            for (int i = 0; i < LANES; i++) out[k] += sums[k][i];
    }
}

/* Of the sums weighed by `weights`, to the logit. */
INLINE vec slope_of(vec x, vec y, int entropy, const float *gammas, int count, const float *weights) {
    sigmoid s = sigmoid_of(x);
    bits grows = s.p <= y; /* min(p, y) grows with p */
    vec slope = s.slope * (select(grows, all(weights[0]), all(0)) + weights[1]);
    if (!entropy && !count) return slope;
    vec error = s.p - y;
    if (entropy) slope += weights[3] * error;
    if (!count) return slope;
    vec c = entropy_of(x, y, s.e), right = exponential(-c), wrong = wrongness(c, right);
    vec log_wrong = logarithm(wrong), ratio = right * c / wrong;
    for (int g = 0; g < count; g++)
        slope += weights[3 + entropy + g] * error * exponential(log_wrong * gammas[g]) * (1.0f + gammas[g] * ratio);
    return slope;
}

INLINE void gradient(const float *logits, const void *target, int is_float, int64_t voxels, int entropy,
                     const float *gammas, int count, const float *weights, float *out) {
    int64_t at = 0;
    for (; at + LANES <= voxels; at += LANES) {
        vec slope = slope_of(load(logits + at), load_target(target, at, is_float), entropy, gammas, count, weights);
        memcpy(out + at, &slope, sizeof slope);
    }
    if (at < voxels) {
        vec x, y;
        load_rest(logits, target, at, (int)(voxels - at), is_float, &x, &y);
        vec slope = slope_of(x, y, entropy, gammas, count, weights);
        memcpy(out + at, &slope, sizeof(float) * (voxels - at));
    }
}

/* Each case apart, so that it is compiled for itself. */
#define EACH_FOCUS(CALL, kind, entropy) if (count) CALL(kind, entropy, count); else CALL(kind, entropy, 0);
#define EACH_ENTROPY(CALL, kind) if (entropy) { EACH_FOCUS(CALL, kind, 1) } else { EACH_FOCUS(CALL, kind, 0) }
#define EACH_CASE(CALL) if (is_float) { EACH_ENTROPY(CALL, 1) } else { EACH_ENTROPY(CALL, 0) }
#define SUM(kind, entropy, count) sum(logits, target, kind, voxels, entropy, gammas, count, out)
#define GRADIENT(kind, entropy, count) gradient(logits, target, kind, voxels, entropy, gammas, count, weights, out)

/* A target is float, or else a byte a voxel. `out` holds 3 + entropy + count sums. */
EVERY_PROCESSOR void spineloss_sums(const float *logits, const void *target, int is_float, int64_t voxels, int entropy,
                    const float *gammas, int count, double *out) {
    EACH_CASE(SUM)
}

EVERY_PROCESSOR void spineloss_gradient(const float *logits, const void *target, int is_float, int64_t voxels, int entropy,
                        const float *gammas, int count, const float *weights, float *out) {
    EACH_CASE(GRADIENT)
}
