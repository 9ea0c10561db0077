/* Sums over voxels of p w, or of (p - y)^2 w where there is a target, w being a map of weights, and their gradient: one
   pass each. */
#include "predictions.h"

INLINE vec weighted_value(const tile *t, const softmax *s, const batch *b, int c, int i) {
    prediction of = prediction_of(t, s, b, c, i);
    vec w = load(t->map + c * t->map_stride + i);
    return keep(w != 0.0f, w * (b->target ? of.error * of.error : of.p));
}

void KERNEL(spineloss_weighted_sums)(const batch *b, int64_t sample, int64_t first, int64_t last, double *out) {
    add_sums(weighted_value, b, sample, first, last, out);
}

INLINE vec weighted_slope(const tile *t, const softmax *s, const batch *b, int c, int i, const float *weight) {
    prediction of = prediction_of(t, s, b, c, i);
    vec w = load(t->map + c * t->map_stride + i) * *weight;
    return keep(w != 0.0f, of.steepness * w * (b->target ? 2.0f * of.error : splat(1.0f)));
}

/* The gradient of the sums, weighted by a number per class. */
void KERNEL(spineloss_weighted_gradient)(const batch *b, int64_t sample, int64_t first, int64_t last,
                                         const float *weights, void *out) {
    write_gradient(weighted_slope, 1, b, sample, first, last, weights, out);
}
