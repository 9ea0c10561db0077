/* How many voxels have a probability within each of some bins of equal width, and their sum of p - y there; and the gradient
   of these sums, which does not see that a voxel can change its bin: one pass each. */
#include "predictions.h"

/* The bin of each lane; one more than there are of a voxel that does not count. */
INLINE bits bins_of(const tile *t, int32_t bins, vec p, int at) {
    bits bin = __builtin_convertvector(p * (float)bins, bits), last = (bits){0} + (bins - 1);
    bin = (bin > 0) & bin; /* of NaN, too: its error says so */
    bin = ((bin < last) & bin) | (~(bin < last) & last);
    bits uncounted = uncounted_at(t, at);
    return (uncounted & bins) | (~uncounted & bin);
}

/* Adds the voxels and the error of each class and bin, of voxels `first` to `last` of a sample, to `out`, (classes, bins + 1,
   2). */
void KERNEL(spineloss_binned_sums)(const batch *b, int64_t sample, int64_t first, int64_t last, double *out) {
    tile t;
    softmax s;
    int32_t bin[BLOCK];
    float error[BLOCK];
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) open_softmax(&s, &t, b);
        for (int c = 0; c < t.classes; c++) {
            for (int i = 0; i < t.voxels; i += LANES) {
                prediction of = prediction_of(&t, &s, b, c, i);
                bits own = bins_of(&t, b->bins, of.p, i);
                memcpy(bin + i, &own, sizeof own);
                store(error + i, of.error);
            }
            double *row = out + c * 2 * (b->bins + 1);
            for (int i = 0; i < t.voxels; i++) {
                row[2 * bin[i]] += 1;
                row[2 * bin[i] + 1] += error[i];
            }
        }
    }
}

INLINE vec binned_slope(const tile *t, const softmax *s, const batch *b, int c, int i, const float *weights) {
    prediction of = prediction_of(t, s, b, c, i);
    bits bin = bins_of(t, b->bins, of.p, i);
    vec w;
    for (int lane = 0; lane < LANES; lane++) w[lane] = weights[bin[lane]];
    return of.steepness * w;
}

/* The gradient of the sums of errors, weighted by a number per class and bin, (classes, bins + 1). */
void KERNEL(spineloss_binned_gradient)(const batch *b, int64_t sample, int64_t first, int64_t last,
                                       const float *weights, void *out) {
    write_gradient(binned_slope, b->bins + 1, b, sample, first, last, weights, out);
}
