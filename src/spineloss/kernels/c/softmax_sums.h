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
    float asked[MOST_ASKED][BLOCK]; /* what is asked for of the label alone */
    float slopes[TILE]; /* q_c */
    float total[BLOCK]; /* sum of q_c */
    float at_label[BLOCK]; /* the gradient there */
} softmax;

/* The surprise at a class as a column wants it: few ask for the logarithm. */
INLINE surprise surprise_of(int kind, float exponent, vec entropy, vec right, vec wrong) {
    int plain = kind != FOCAL || exponent == 1.0f || exponent == 2.0f;
    return (surprise){entropy, right, wrong, plain ? splat(0.0f) : logarithm(vmax(splat(1e-30f), wrong))};
}

/* Whether a column is 0 but at a voxel's label. */
INLINE int of_label_alone(int kind) { return kind != DEVIATION && kind != UNIFORM; }

INLINE vec asked_of_label(int kind, float exponent, surprise s) {
    return kind == MISSED ? raised(s.wrong, exponent) : of_entropy(kind, exponent, s);
}

/* Its derivative with respect to -log p. */
INLINE vec slope_of_asked_of_label(int kind, float exponent, surprise s) {
    if (kind == MISSED) return -slope_of_error(kind, exponent, -s.wrong) * s.right;
    return slope_of_entropy(kind, exponent, s);
}

static void find_exps(softmax *s, const tile *t) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec most = load(t->logits + at);
        for (int c = 0; c < t->classes; c++) {
            const float *logits = t->logits + c * t->stride + at;
            most = vmax(load(logits), most);
            __builtin_prefetch(logits + t->padded);
        }
        store(s->most + at, most);
    }
    for (int c = 0; c < t->classes; c++) {
        const float *logits = t->logits + c * t->stride;
        float *exps = s->exps + c * t->padded;
        for (int at = 0; at < t->voxels; at += LANES)
            store(exps + at, exponential(load(logits + at) - load(s->most + at)));
    }
}

/* Fills in the softmax of a tile, and of each voxel with a label what is asked for of its entropies. */
static void open_softmax(softmax *s, const tile *t, const batch *b) {
    find_exps(s, t);
    for (int at = 0; at < t->voxels; at += LANES) {
        bits label = load_bits(t->labels + at);
        vec others = splat(0.0f), own = others, own_x = others;
        for (int c = 0; c < t->classes; c++) {
            vec e = load(s->exps + c * t->padded + at);
            bits here = label == c;
            others += keep(~here, e);
            own = blend(here, e, own);
            own_x = blend(here, load(t->logits + c * t->stride + at), own_x);
        }
        vec sum = others + own, inverse = keep(label != NOT_COUNTED, 1.0f / sum), wrong = others * inverse;
        store(s->inverse + at, inverse);
        store(s->wrong + at, wrong);
        if (!b->entropy && !b->asked) continue;
        vec log_sum = logarithm(sum), behind = own_x - load(s->most + at);
        vec entropy = blend(wrong < 0.5f, minus_log1m(wrong), log_sum - behind);
        entropy = keep(label >= 0, entropy);
        store(s->log_sum + at, log_sum);
        store(s->entropy + at, entropy);
        if (!b->asked) continue;
        for (int k = 0; k < b->asked; k++) {
            if (!of_label_alone(b->kinds[k])) continue;
            surprise of_label = surprise_of(b->kinds[k], b->exponents[k], entropy, own * inverse, wrong);
            store(s->asked[k] + at, asked_of_label(b->kinds[k], b->exponents[k], of_label));
        }
    }
}

INLINE vec softmax_probability(const softmax *s, const tile *t, int c, int at) {
    return load(s->exps + c * t->padded + at) * load(s->inverse + at);
}

/* The cross-entropy of a voxel, were a class its label. */
INLINE vec class_entropy(const softmax *s, const tile *t, int c, int at) {
    return load(s->log_sum + at) - (load(t->logits + c * t->stride + at) - load(s->most + at));
}

/* -log p of a class, divided by the classes; 0 where a voxel is not counted */
INLINE vec uniform_entropy(const softmax *s, const tile *t, int c, int at) {
    bits counted = load_bits(t->labels + at) != NOT_COUNTED;
    return keep(counted, class_entropy(s, t, c, at) * (1.0f / t->classes));
}

/* What is asked for of a class whether it is the label or not. */
INLINE vec asked_of_class(const softmax *s, const tile *t, int kind, float exponent, vec error, int c, int at) {
    return kind == UNIFORM ? uniform_entropy(s, t, c, at) : of_error(kind, exponent, error);
}

static void sum_labelled(const softmax *s, const tile *t, const batch *b, int c, double *out) {
    vec sums[ASKED + MOST_ASKED] = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        bits here = load_bits(t->labels + at) == c;
        vec y = keep(here, splat(1.0f));
        vec p = softmax_probability(s, t, c, at), error = blend(here, load(s->wrong + at), p);
        sums[OVERLAP] += p * y;
        sums[PREDICTED] += p;
        sums[TRUE] += y;
        sums[ERROR] += error * error;
        if (b->entropy) sums[ENTROPY] += keep(here, load(s->entropy + at));
        for (int k = 0; k < b->asked; k++)
            sums[ASKED + k] += of_label_alone(b->kinds[k])
                                   ? keep(here, load(s->asked[k] + at))
                                   : asked_of_class(s, t, b->kinds[k], b->exponents[k], error, c, at);
    }
    add_up(sums, b, out);
}

static void sum_soft(const softmax *s, const tile *t, const batch *b, int c, double *out) {
    vec sums[ASKED + MOST_ASKED] = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at), y = load(t->target + c * t->target_stride + at);
        sums[OUTSIDE] += outside_of(y);
        sums[OVERLAP] += vmin(y, p);
        sums[PREDICTED] += p;
        sums[TRUE] += y;
        sums[ERROR] += (p - y) * (p - y);
        if (!b->entropy && !b->asked) continue;
        vec entropy = class_entropy(s, t, c, at);
        sums[ENTROPY] += keep(y != 0.0f, y * entropy);
        for (int k = 0; k < b->asked; k++) {
            int kind = b->kinds[k];
            float exponent = b->exponents[k];
            surprise at_class = surprise_of(kind, exponent, entropy, p, 1.0f - p);
            sums[ASKED + k] += kind == MISSED || !of_label_alone(kind)
                                   ? asked_of_class(s, t, kind, exponent, p - y, c, at)
                                   : keep(y != 0.0f, y * of_entropy(kind, exponent, at_class));
        }
    }
    add_up(sums, b, out);
}

/* q_c of what is asked for of a class whether it is the label or not: p - y is `error`. */
INLINE vec slope_of_asked_of_class(const tile *t, int kind, float exponent, vec error, vec p, int at) {
    if (kind != UNIFORM) return p * slope_of_error(kind, exponent, error);
    return keep(load_bits(t->labels + at) != NOT_COUNTED, splat(-1.0f / t->classes));
}

/* q_c of a class that is not the label. */
INLINE vec slope_of_other(const tile *t, const batch *b, const float *weight, vec p, int at) {
    vec slope = p * (weight[PREDICTED] + 2.0f * weight[ERROR] * p);
    for (int k = 0; k < b->asked; k++)
        if (!of_label_alone(b->kinds[k]))
            slope += weight[ASKED + k] * slope_of_asked_of_class(t, b->kinds[k], b->exponents[k], p, p, at);
    return slope;
}

/* The cross-entropy of a voxel. */
INLINE vec softmax_entropy(const softmax *s, const tile *t, int at) {
    if (t->labelled) return load(s->entropy + at);
    vec sum = splat(0.0f);
    for (int c = 0; c < t->classes; c++) {
        vec y = load(t->target + c * t->target_stride + at);
        sum += keep(y != 0.0f, y * class_entropy(s, t, c, at));
    }
    return sum;
}

/* What is needed of all classes for the gradient: `total` and `at_label`. */
static void open_labelled_slopes(softmax *s, const tile *t, const batch *b, const float *weights) {
    for (int at = 0; at < t->voxels; at += LANES) {
        bits label = load_bits(t->labels + at);
        vec wrong = load(s->wrong + at), others = splat(0.0f), own = others, own_p = others, factor = others;
        for (int c = 0; c < t->classes; c++) {
            const float *weight = weights + c * (ASKED + b->asked);
            bits here = label == c;
            vec p = softmax_probability(s, t, c, at);
            others += keep(~here, slope_of_other(t, b, weight, p, at));
            own = blend(here, weight[OVERLAP] + weight[PREDICTED] - 2.0f * weight[ERROR] * wrong, own);
            own_p = blend(here, p, own_p);
            factor = blend(here, splat(weight[ENTROPY]), factor);
        }
        own = own * own_p - factor;
        for (int k = 0; k < b->asked; k++) {
            int kind = b->kinds[k];
            vec weight = splat(0.0f);
            for (int c = 0; c < t->classes; c++)
                weight = blend(label == c, splat(weights[c * (ASKED + b->asked) + ASKED + k]), weight);
            float exponent = b->exponents[k];
            surprise of_label = surprise_of(kind, exponent, load(s->entropy + at), own_p, wrong);
            own += weight * (of_label_alone(kind) ? -slope_of_asked_of_label(kind, exponent, of_label)
                                                  : slope_of_asked_of_class(t, kind, exponent, -wrong, own_p, at));
        }
        store(s->total + at, others + own);
        store(s->at_label + at, own * wrong - own_p * others);
    }
}

static void slope_labelled(const softmax *s, const tile *t, const batch *b, const float *weight, int c, float *out) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at);
        vec slope = slope_of_other(t, b, weight, p, at) - p * load(s->total + at);
        store(out + at, blend(load_bits(t->labels + at) == c, load(s->at_label + at), slope));
    }
}

/* The slopes q_c of all classes, and their sum. */
static void open_soft_slopes(softmax *s, const tile *t, const batch *b, const float *weights) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec total = splat(0.0f);
        for (int c = 0; c < t->classes; c++) {
            const float *weight = weights + c * (ASKED + b->asked);
            vec p = softmax_probability(s, t, c, at), y = load(t->target + c * t->target_stride + at);
            vec overlap = weight[OVERLAP] * slope_of_overlap(p, y);
            vec slope = p * (overlap + weight[PREDICTED] + 2.0f * weight[ERROR] * (p - y));
            vec factor = splat(weight[ENTROPY]);
            for (int k = 0; k < b->asked; k++) {
                int kind = b->kinds[k];
                float exponent = b->exponents[k];
                surprise at_class = surprise_of(kind, exponent, class_entropy(s, t, c, at), p, 1.0f - p);
                if (kind == MISSED || !of_label_alone(kind))
                    slope += weight[ASKED + k] * slope_of_asked_of_class(t, kind, exponent, p - y, p, at);
                else factor += weight[ASKED + k] * slope_of_entropy(kind, exponent, at_class);
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
