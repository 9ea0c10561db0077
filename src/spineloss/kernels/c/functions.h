/* Elementary functions of vectors, to a few units in the last place. NaN in, NaN out. */
#pragma once
#include "vectors.h"

/* exp(x) for x < 88; 0 below -87.7, where the result would soon be no normal number. */
INLINE vec exponential(vec x) {
    /* Adding 1.5 * 2^23 rounds to an integer; with 127 more, that integer is the exponent of a float, or 0 for -88. */
    const vec magic = splat(12582912.0f + 127);
    x = vmax(splat(-88.0f), x);
    vec shifted = x * 1.44269504088896341f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    /* A minimax polynomial of degree 5, 1e-7. Its parts do not wait for each other, as they would in Horner's scheme. */
    vec squared = r * r, upper = 8.312501013e-3f * r + 4.189033061e-2f, lower = 1.666711569e-1f * r + 4.999923110e-1f;
    vec series = (upper * squared + lower) * squared + (r + 1.0f);
    return series * (vec)((bits)shifted << 23);
}

INLINE vec root(vec x) {
    for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
}

/* 2 artanh(s) = log((1 + s) / (1 - s)) for |s| <= 1/3 */
INLINE vec twice_artanh(vec s) {
    vec q = s * s;
    vec series = splat(2.0f / 15);
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
    bits exponent = ((bits)x - 0x3f3504f3) >> 23; /* mantissas from sqrt(1/2) to sqrt(2) */
    vec mantissa = (vec)((bits)x - (exponent << 23));
    vec n = __builtin_convertvector(exponent, vec);
    vec nan = x - x; /* or else 0: the bits of NaN would pass for a number */
    return n * 0.693147180559945f + twice_artanh((mantissa - 1.0f) / (mantissa + 1.0f)) + nan;
}

/* -log(1 - t) for 0 <= t <= 1/2, by a minimax polynomial of degree 9: 2e-8 */
INLINE vec minus_log1m(vec t) {
    vec series = splat(1.414549124f);
    series = series * t - 1.639592505f;
    series = series * t + 1.208716306f;
    series = series * t - 1.809532718e-1f;
    series = series * t + 2.6369116e-1f;
    series = series * t + 2.436825819e-1f;
    series = series * t + 3.336321221e-1f;
    series = series * t + 4.999952172e-1f;
    series = series * t + 1.0f;
    return series * t;
}

/* 1 - exp(-c) for c >= 0; never 0, so that its logarithm is finite */
INLINE vec wrongness(vec c) {
    vec series = splat(-1.0f / 720);
    series = series * c + 1.0f / 120;
    series = series * c - 1.0f / 24;
    series = series * c + 1.0f / 6;
    series = series * c - 0.5f;
    series = series * c + 1.0f;
    return blend(c < 0.25f, series * c + 1e-30f, 1.0f - exponential(-c));
}
