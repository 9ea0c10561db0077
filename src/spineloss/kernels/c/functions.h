/* Elementary functions of vectors, to a few units in the last place. */
#pragma once
#include "vectors.h"

/* exp(x) for x < 88; below -87, where it would be no normal float, exp(-87). */
INLINE vec exponential(vec x) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = larger(all(-87.0f), x);
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

/* All that is ever asked of p = sigmoid(x) follows from the tail of x, with no more exponential or division, and is
   exact near 0 and near 1: the smaller of p and 1 - p, exp(-|x|) / (1 + exp(-|x|)), with the sign of x. */
INLINE vec tail_of(vec x) {
    vec e = exponential((vec)((bits)x | SIGN));
    return (vec)((bits)(e / (1.0f + e)) | ((bits)x & SIGN));
}

/* The surer answer, 0 or 1, whose distance from p the tail is. */
INLINE vec answer_of(vec tail) { return (vec)(~((bits)tail >> 31) & (bits)all(1.0f)); }

/* p */
INLINE vec probability_of(vec tail) { return answer_of(tail) - tail; }

/* p (1 - p) */
INLINE vec steepness_of(vec tail) { return absolute(tail) - tail * tail; }

/* log(1 + exp(-|x|)) = -log(1 - |tail|), by a minimax polynomial of degree 9: 2e-8 */
INLINE vec log1p_of(vec tail) {
    vec m = absolute(tail), series = all(1.414549124f);
    series = series * m - 1.639592505f;
    series = series * m + 1.208716306f;
    series = series * m - 1.809532718e-1f;
    series = series * m + 2.6369116e-1f;
    series = series * m + 2.436825819e-1f;
    series = series * m + 3.336321221e-1f;
    series = series * m + 4.999952172e-1f;
    series = series * m + 1.0f;
    return series * m;
}
