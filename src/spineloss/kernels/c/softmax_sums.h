/* The sums of a tile, and their gradient, where the classes are exclusive: p_c = exp(x_c) / sum_k exp(x_k).

   With q_c, the derivative of the weighted sums with respect to log p_c, the gradient is q_c - p_c sum_k q_k. In a
   voxel with a label it is computed from 1 - p of that label, which is exact where the prediction is sure. */
#pragma once
#include "columns.h"

typedef struct {
    float exps[TILE];     /* exp(x_c - most) */
    float most[BLOCK];    /* the largest logit of a voxel */
    float inverse[BLOCK]; /* 1 / sum of exps; 0 where a voxel is not counted, and so are its probabilities */
    float log_sum[BLOCK];
    float wrong[BLOCK];   /* 1 - p of the label; 1 without one, 0 where a voxel is not counted */
    float entropy[BLOCK]; /* -log p of the label; 0 without one */
    float focal[MOST_GAMMAS][BLOCK];
    float slopes[TILE]; /* q_c */
    float total[BLOCK]; /* sum of q_c */
    float at_label[BLOCK]; /* the gradient there */
} softmax;

INLINE surprise surprise_of(vec entropy, vec right, vec wrong) {
    return (surprise){entropy, right, wrong, logarithm(vmax(splat(1e-30f), wrong))};
}

/* Fills in the softmax of a tile, and of each voxel with a label what is asked for of its entropies. */
static void open_softmax(softmax *s, const tile *t, const batch *b) {
    for (int at = 0; at < t->voxels; at += LANES) {
        const float *logits = t->logits + at;
        bits label = load_bits(t->labels + at);
        vec most = load(logits), others = splat(0.0f), own = others, own_x = others;
        for (int c = 0; c < t->classes; c++) {
            most = vmax(load(logits + c * t->stride), most);
            __builtin_prefetch(logits + c * t->stride + t->padded);
        }
        for (int c = 0; c < t->classes; c++) {
            vec x = load(logits + c * t->stride) - most, e = exponential(x);
            bits here = label == c;
            others += keep(~here, e);
            own = blend(here, e, own);
            own_x = blend(here, x, own_x);
            store(s->exps + c * t->padded + at, e);
        }
        vec sum = others + own, inverse = keep(label != NOT_COUNTED, 1.0f / sum), wrong = others * inverse;
        store(s->inverse + at, inverse);
        store(s->wrong + at, wrong);
        if (!b->entropy && !b->focal) continue;
        vec log_sum = logarithm(sum), entropy = blend(wrong < 0.5f, minus_log1m(wrong), log_sum - own_x);
        entropy = keep(label >= 0, entropy);
        store(s->most + at, most);
        store(s->log_sum + at, log_sum);
        store(s->entropy + at, entropy);
        if (!b->focal) continue;
        surprise of_label = surprise_of(entropy, own * inverse, wrong);
        for (int g = 0; g < b->focal; g++) store(s->focal[g] + at, focus(of_label, b->gammas[g]) * entropy);
    }
}

INLINE vec softmax_probability(const softmax *s, const tile *t, int c, int at) {
    return load(s->exps + c * t->padded + at) * load(s->inverse + at);
}

static void sum_labelled(const softmax *s, const tile *t, const batch *b, int c, double *out) {
    vec sums[FOCAL + MOST_GAMMAS] = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        bits here = load_bits(t->labels + at) == c;
        vec y = keep(here, splat(1.0f));
        vec p = softmax_probability(s, t, c, at), error = blend(here, load(s->wrong + at), p);
        sums[OVERLAP] += p * y;
        sums[PREDICTED] += p;
        sums[TRUE] += y;
        sums[ERROR] += error * error;
        if (b->entropy) sums[ENTROPY] += keep(here, load(s->entropy + at));
        for (int g = 0; g < b->focal; g++) sums[FOCAL + g] += keep(here, load(s->focal[g] + at));
    }
    add_up(sums, b, out);
}

/* The surprise at a class, were it the label. */
INLINE surprise class_surprise(const softmax *s, const tile *t, vec p, int c, int at) {
    vec x = load(t->logits + c * t->stride + at) - load(s->most + at);
    return surprise_of(load(s->log_sum + at) - x, p, 1.0f - p);
}

static void sum_soft(const softmax *s, const tile *t, const batch *b, int c, double *out) {
    vec sums[FOCAL + MOST_GAMMAS] = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at), y = load(t->target + c * t->target_stride + at);
        sums[OUTSIDE] += outside_of(y);
        sums[OVERLAP] += vmin(y, p);
        sums[PREDICTED] += p;
        sums[TRUE] += y;
        sums[ERROR] += (p - y) * (p - y);
        if (!b->entropy && !b->focal) continue;
        surprise at_class = class_surprise(s, t, p, c, at);
        vec entropy = keep(y != 0.0f, y * at_class.entropy);
        sums[ENTROPY] += entropy;
        for (int g = 0; g < b->focal; g++) sums[FOCAL + g] += focus(at_class, b->gammas[g]) * entropy;
    }
    add_up(sums, b, out);
}

/* What is needed of all classes for the gradient: `total` and `at_label`. */
static void open_labelled_slopes(softmax *s, const tile *t, const batch *b, const float *weights) {
    for (int at = 0; at < t->voxels; at += LANES) {
        bits label = load_bits(t->labels + at);
        vec wrong = load(s->wrong + at), others = splat(0.0f), own = others, own_p = others, factor = others;
        for (int c = 0; c < t->classes; c++) {
            const float *weight = weights + c * (FOCAL + b->focal);
            bits here = label == c;
            vec p = softmax_probability(s, t, c, at);
            others += keep(~here, p * (weight[PREDICTED] + 2.0f * weight[ERROR] * p));
            own = blend(here, weight[OVERLAP] + weight[PREDICTED] - 2.0f * weight[ERROR] * wrong, own);
            own_p = blend(here, p, own_p);
            factor = blend(here, splat(weight[ENTROPY]), factor);
        }
        for (int g = 0; g < b->focal; g++) {
            surprise of_label = surprise_of(load(s->entropy + at), own_p, wrong);
            vec weight = splat(0.0f);
            for (int c = 0; c < t->classes; c++)
                weight = blend(label == c, splat(weights[c * (FOCAL + b->focal) + FOCAL + g]), weight);
            factor += weight * slope_of_focus(of_label, b->gammas[g]);
        }
        own = own * own_p - factor;
        store(s->total + at, others + own);
        store(s->at_label + at, own * wrong - own_p * others);
    }
}

static void slope_labelled(const softmax *s, const tile *t, const float *weight, int c, float *out) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at);
        vec slope = p * (weight[PREDICTED] + 2.0f * weight[ERROR] * p - load(s->total + at));
        store(out + at, blend(load_bits(t->labels + at) == c, load(s->at_label + at), slope));
    }
}

/* The slopes q_c of all classes, and their sum. */
static void open_soft_slopes(softmax *s, const tile *t, const batch *b, const float *weights) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec total = splat(0.0f);
        for (int c = 0; c < t->classes; c++) {
            const float *weight = weights + c * (FOCAL + b->focal);
            vec p = softmax_probability(s, t, c, at), y = load(t->target + c * t->target_stride + at);
            vec overlap = weight[OVERLAP] * slope_of_overlap(p, y);
            vec slope = p * (overlap + weight[PREDICTED] + 2.0f * weight[ERROR] * (p - y));
            vec factor = splat(weight[ENTROPY]);
            if (b->focal) {
                surprise at_class = class_surprise(s, t, p, c, at);
                for (int g = 0; g < b->focal; g++)
                    factor += weight[FOCAL + g] * slope_of_focus(at_class, b->gammas[g]);
            }
            slope -= keep(y != 0.0f, y * factor);
            total += slope;
            store(s->slopes + c * t->padded + at, slope);
        }
        store(s->total + at, total);
    }
}

static void slope_soft(const softmax *s, const tile *t, int c, float *out) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at);
        store(out + at, load(s->slopes + c * t->padded + at) - p * load(s->total + at));
    }
}
