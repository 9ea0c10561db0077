/* Elementary functions of vectors, to a few units in the last place. */
#include "vectors.h"

/* exp(x) for x < 88; below -87, where it would be no normal float, exp(-87). */
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

typedef struct {
    vec p, slope;     /* the probability, and its slope p (1 - p) */
    vec e;            /* exp(-|x|) */
} sigmoid;

INLINE sigmoid sigmoid_of(vec x) {
    vec e = exponential(-absolute(x));
    vec q = 1.0f / (1.0f + e);
    return (sigmoid){select(x < 0.0f, e * q, q), e * q * q, e};
}
