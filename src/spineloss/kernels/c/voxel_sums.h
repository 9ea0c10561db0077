/* Sums over voxels that region and distribution losses are made of, and their gradient: one pass each, which needs no
   memory but a few tiles. Floats add up within a tile only, doubles beyond it. */
#include "sigmoid_sums.h"
#include "softmax_sums.h"

/* Adds the sums of voxels `first` to `last` of a sample to `out`, (classes, ASKED + asked). */
void KERNEL(spineloss_sums)(const batch *b, int64_t sample, int64_t first, int64_t last, double *out) {
    tile t;
    softmax s;
    int64_t columns = ASKED + b->asked;
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) open_softmax(&s, &t, b);
        for (int c = 0; c < t.classes; c++) {
            double *row = out + c * columns;
            row[COUNTED] += t.counted;
            row[OUTSIDE] += t.outside;
            if (!b->softmax) sum_sigmoid(&t, b, c, row);
            else if (!t.labelled) sum_soft(&s, &t, b, c, row);
        }
        if (b->softmax && t.labelled) sum_labelled(&s, &t, b, columns, out);
    }
}

/* The gradient of the weighted sums with respect to voxels `first` to `last` of a sample's logits, into `out`, (N,
   classes, voxels) of the logits' type. The weights are those of the sample, (classes, ASKED + asked). */
void KERNEL(spineloss_gradient)(const batch *b, int64_t sample, int64_t first, int64_t last, const float *weights,
                                void *out) {
    tile t;
    softmax s;
    float own[BLOCK];
    int64_t columns = ASKED + b->asked;
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) {
            open_softmax(&s, &t, b);
            if (t.labelled) open_labelled_slopes(&s, &t, b, weights, columns);
            else open_soft_slopes(&s, &t, b, weights);
        }
        for (int c = 0; c < t.classes; c++) {
            float *to = open_row(&t, b, sample, at, c, own, out);
            if (!b->softmax) slope_sigmoid(&t, b, c, weights + c * columns, to);
            else if (t.labelled) slope_labelled(&s, &t, b, weights + c * columns, c, to);
            else slope_soft(&s, &t, c, to);
            close_row(&t, b, sample, at, c, own, out);
        }
    }
    fence();
}

/* The cross-entropy of voxels `first` to `last` of a sample, -1 where one does not count, into `out`: (N, classes, voxels),
   or (N, 1, voxels) where the classes are exclusive. */
void KERNEL(spineloss_surprises)(const batch *b, int64_t sample, int64_t first, int64_t last, float *out) {
    tile t;
    softmax s;
    for (int64_t at = first; at < last; at += tile_size(b)) {
        open_tile(&t, b, sample, at, last);
        if (b->softmax) open_softmax(&s, &t, b);
        for (int c = 0; c < (b->softmax ? 1 : t.classes); c++) {
            float row[BLOCK];
            for (int i = 0; i < t.voxels; i += LANES) {
                vec entropy = b->softmax ? softmax_entropy(&s, &t, i) : sigmoid_entropy(&t, c, i);
                store(row + i, blend(uncounted_at(&t, i), splat(-1.0f), vmax(splat(0.0f), entropy)));
            }
            int64_t channels = b->softmax ? 1 : b->classes;
            memcpy(out + (sample * channels + c) * b->voxels + at, row, sizeof(float) * t.voxels);
        }
    }
}
