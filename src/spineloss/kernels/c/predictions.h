/* The probability of a class, with either activation, and its error. */
#pragma once
#include "sigmoid_sums.h"
#include "softmax_sums.h"

/* p and p - y of a class (or p twice without a target), and how fast p grows with its own logit. */
typedef struct {
    vec p, error, steepness;
} prediction;

INLINE prediction prediction_of(const tile *t, const softmax *s, const batch *b, int c, int at) {
    vec y = splat(0.0f);
    if (b->target) y = target_of(t, t->labelled, c, at);
    if (b->softmax) {
        vec p = softmax_probability(s, t, c, at);
        return (prediction){p, p - y, p};
    }
    vec x = load(t->logits + c * t->stride + at);
    sigmoid of = sigmoid_of(x, exponential((vec)((bits)x | SIGN)));
    return (prediction){of.p, error_of(x, y, of.lesser), of.lesser * of.greater};
}

/* What vector i of a class adds to its sum; 0 where a voxel does not count. */
typedef vec value_of(const tile *t, const softmax *s, const batch *b, int c, int i);

/* Adds the sum of each class over voxels `first` to `last` of a sample to `out`. */
INLINE void add_sums(value_of *value, const batch *b, int64_t sample, int64_t first, int64_t last, double *out) {
    tile t;
    softmax s;
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) open_softmax(&s, &t, b);
        for (int c = 0; c < t.classes; c++) {
            vec sum = splat(0.0f);
            for (int i = 0; i < t.voxels; i += LANES) sum += value(&t, &s, b, c, i);
            for (int i = 0; i < LANES; i++) out[c] += sum[i];
        }
    }
}

/* The slopes of vector i of a class by its logit, weighted by the class's own row of weights; those of a softmax by its
   probability, times it. */
typedef vec slope_of(const tile *t, const softmax *s, const batch *b, int c, int i, const float *weights);

/* The gradient of weighted sums with respect to voxels `first` to `last` of a sample's logits, into `out`, (N, classes,
   voxels) of the logits' type. The weights are those of the sample, (classes, columns). */
INLINE void write_gradient(slope_of *slope, int64_t columns, const batch *b, int64_t sample, int64_t first, int64_t last,
                           const float *weights, void *out) {
    tile t;
    softmax s;
    float own[BLOCK];
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) open_softmax(&s, &t, b);
        for (int i = 0; b->softmax && i < t.voxels; i += LANES) {
            vec total = splat(0.0f);
            for (int c = 0; c < t.classes; c++) {
                vec one = slope(&t, &s, b, c, i, weights + c * columns);
                total += one;
                store(s.slopes + c * t.padded + i, one);
            }
            store(s.total + i, total);
        }
        for (int c = 0; c < t.classes; c++) {
            float *to = open_row(&t, b, sample, at, c, own, out);
            if (b->softmax) slope_soft(&s, &t, c, to);
            else
                for (int i = 0; i < t.voxels; i += LANES) store(to + i, slope(&t, &s, b, c, i, weights + c * columns));
            close_row(&t, b, sample, at, c, own, out);
        }
    }
}
