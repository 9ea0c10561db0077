/* Elementary functions of vectors, to a few units in the last place. */
#pragma once
#include "vectors.h"

/* exp(x) for x < 88; below -87, where it would be no normal float, exp(-87). */
INLINE vec exponential(vec x) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = select(x < -87.0f, all(-87.0f), x);
    vec shifted = x * 1.44269504088896341f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec series = all(1.384364428e-3f); /* minimax of degree 6: 2e-9 */
    series = series * r + 8.374163482e-3f;
    series = series * r + 4.166800258e-2f;
    series = series * r + 1.666643117e-1f;
    series = series * r + 4.999999421e-1f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    /* times 2^n: the integer is in the lowest bits of `shifted`, an exponent above 23 others */
    return (vec)((bits)series + ((bits)shifted << 23));
}

/* log(1 + e) for e in [0, 1], by a minimax polynomial of degree 9: 3e-8 */
INLINE vec log1p_of(vec e) {
    vec series = all(5.23269369e-3f);
    series = series * e - 2.950524007e-2f;
    series = series * e + 7.822596087e-2f;
    series = series * e - 1.366324728e-1f;
    series = series * e + 1.91060079e-1f;
    series = series * e - 2.484298267e-1f;
    series = series * e + 3.33190969e-1f;
    series = series * e - 4.999949315e-1f;
    series = series * e + 9.999999699e-1f;
    return series * e;
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

typedef struct {
    vec p, slope;     /* the probability, and its slope p (1 - p) */
    vec e;            /* exp(-|x|) */
} sigmoid;

INLINE sigmoid sigmoid_of(vec x) {
    vec e = exponential(-absolute(x));
    vec q = 1.0f / (1.0f + e);
    return (sigmoid){select(x < 0.0f, e * q, q), e * q * q, e};
}
