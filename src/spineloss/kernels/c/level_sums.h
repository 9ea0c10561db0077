/* Sums over voxels of how far a predicted signed distance map s = 1 - 2 p is from the batch's target, t,
   and their gradient: |s - t| + 1/3 - s t / (s t + s^2 + t^2). */
#include "predictions.h"

/* s t + s^2 + t^2, and never 0 */
INLINE vec squares_of(vec s, vec t) { return vmax(splat(1e-37f), s * t + s * s + t * t); }

/* The derivative of a voxel's value with respect to s. */
INLINE vec slope_of_level(vec s, vec t) {
    vec squares = squares_of(s, t), apart = s - t;
    vec sign = by_sign(apart, splat(-1.0f), keep(apart > 0.0f, splat(1.0f)));
    return sign - t * (t * t - s * s) / squares / squares; /* their square may be too small to be told from 0 */
}

INLINE vec level_value(const tile *t, const softmax *s, const batch *b, int c, int i) {
    vec found = 1.0f - 2.0f * prediction_of(t, s, b, c, i).p, true = target_of(t, t->labelled, c, i);
    vec value = absolute(found - true) + 1.0f / 3 - found * true / squares_of(found, true);
    return keep(~uncounted_at(t, i), value);
}

void KERNEL(spineloss_level_sums)(const batch *b, int64_t sample, int64_t first, int64_t last, double *out) {
    add_sums(level_value, b, sample, first, last, out);
}

INLINE vec level_slope(const tile *t, const softmax *s, const batch *b, int c, int i, const float *weight) {
    prediction of = prediction_of(t, s, b, c, i);
    vec slope = slope_of_level(1.0f - 2.0f * of.p, target_of(t, t->labelled, c, i));
    return keep(~uncounted_at(t, i), -2.0f * *weight * of.steepness * slope);
}

/* The gradient of the sums, weighted by a number per class. */
void KERNEL(spineloss_level_gradient)(const batch *b, int64_t sample, int64_t first, int64_t last,
                                      const float *weights, void *out) {
    write_gradient(level_slope, 1, b, sample, first, last, weights, out);
}
