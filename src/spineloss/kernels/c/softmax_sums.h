/* The sums of a tile, and their gradient, where the classes are exclusive: p_c = exp(x_c) / sum_k exp(x_k).

   With q_c, the derivative of the weighted sums with respect to log p_c, the gradient is q_c - p_c sum_k q_k. In a
   voxel with a label it is computed from 1 - p of that label, which is exact where the prediction is sure. */
#pragma once
#include "columns.h"

#define RAREST 1e-30f /* a probability whose logarithm can still be taken */

/* A number of each class, after one of voxels that are not counted and one of those without a class. */
typedef struct {
    float from_not_counted[MOST_CLASSES - NOT_COUNTED];
} by_class;

typedef struct {
    float exps[TILE];     /* exp(x_c - most) */
    float most[BLOCK];    /* the largest logit of a voxel */
    float inverse[BLOCK]; /* 1 / sum of exps; 0 where a voxel is not counted, and so are its probabilities */
    float sum[BLOCK];     /* of exps */
    float log_sum[BLOCK]; /* where a class is to have an entropy of its own */
    float right[BLOCK];   /* p of the label; 0 without one */
    float wrong[BLOCK];   /* 1 - p of the label; 1 without one, 0 where a voxel is not counted */
    float entropy[BLOCK]; /* -log p of the label; 0 without one */
    int bent;           /* whether `slopes` are needed of a tile with labels */
    float slopes[TILE]; /* q_c */
    float total[BLOCK]; /* sum of q_c */
    float own[BLOCK];   /* q_c of the label */
    float at_label[BLOCK]; /* the gradient there */
} softmax;

/* The surprise at a class as a column wants it: few ask for the logarithm. */
INLINE surprise surprise_of(int kind, float exponent, vec entropy, vec right, vec wrong) {
    int hard = kind == FOCAL && !(is_easy(exponent) && is_easy(exponent - 1.0f));
    return (surprise){entropy, right, wrong, hard ? logarithm(vmax(splat(1e-30f), wrong)) : splat(0.0f)};
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

/* Whether a batch asks for a kind of column. */
INLINE int asks_for(const batch *b, int kind) {
    for (int k = 0; k < b->asked; k++)
        if (b->kinds[k] == kind) return 1;
    return 0;
}

static void find_exps(softmax *s, const tile *t) {
    const int voxels = t->voxels, padded = t->padded; /* stores to `s` might change `t`, for all that the compiler knows */
    for (int at = 0; at < t->voxels; at += LANES) {
        const float *logits = t->logits + at;
        vec most = load(logits);
        for (int c = 1; c < t->classes; c++) most = vmax(load(logits + c * t->stride), most);
        store(s->most + at, most);
    }
    for (int c = 0; c < t->classes; c++) {
        const float *logits = t->logits + c * t->stride;
        float *exps = s->exps + c * padded;
        for (int at = 0; at < voxels; at += LANES) {
            store(exps + at, exponential(load(logits + at) - load(s->most + at)));
            __builtin_prefetch(logits + at + padded);
        }
    }
}

/* Fills in the sums of the exponentials, and p of the label. */
static void add_exps(softmax *s, const tile *t) {
    for (int at = 0; at < t->voxels; at += LANES) {
        const float *exps = s->exps + at;
        bits label = load_bits(t->labels + at);
        vec others = splat(0.0f), own = others;
        for (int c = 0; c < t->classes; c++) {
            vec e = load(exps + c * t->padded);
            bits here = label == c;
            others += keep(~here, e);
            own += keep(here, e);
        }
        vec sum = others + own, inverse = keep(label != NOT_COUNTED, 1.0f / sum);
        store(s->sum + at, sum);
        store(s->inverse + at, inverse);
        store(s->right + at, own * inverse);
        store(s->wrong + at, others * inverse);
    }
}

static void find_log_sums(softmax *s, const tile *t) {
    for (int at = 0; at < t->voxels; at += LANES) store(s->log_sum + at, logarithm(load(s->sum + at)));
}

/* -log p of the label, where p is too small to be a normal number */
static vec entropy_of_rare(const softmax *s, const tile *t, int at) {
    vec own = splat(0.0f);
    for (int c = 0; c < t->classes; c++)
        own += keep(load_bits(t->labels + at) == c, load(t->logits + c * t->stride + at));
    return logarithm(load(s->sum + at)) - (own - load(s->most + at));
}

static void find_label_entropies(softmax *s, const tile *t) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec right = load(s->right + at), wrong = load(s->wrong + at);
        bits known = load_bits(t->labels + at) >= 0, rare = known & (right < RAREST);
        vec entropy = blend(wrong < 0.5f, minus_log1m(wrong), -logarithm(right));
        if (any(rare)) entropy = blend(rare, entropy_of_rare(s, t, at), entropy);
        store(s->entropy + at, keep(known, entropy));
    }
}

INLINE surprise surprise_of_label(const softmax *s, int kind, float exponent, int at) {
    return surprise_of(kind, exponent, load(s->entropy + at), load(s->right + at), load(s->wrong + at));
}

/* Fills in the softmax of a tile, and if they are summed the voxels' entropies. */
static void open_softmax(softmax *s, const tile *t, const batch *b) {
    find_exps(s, t);
    add_exps(s, t);
    if (!b->entropy && !b->asked) return;
    if (!t->labelled || asks_for(b, UNIFORM)) find_log_sums(s, t);
    if (t->labelled) find_label_entropies(s, t);
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

/* p - y of a class, exact where the class is the label */
INLINE vec labelled_error(const softmax *s, const tile *t, int c, int at) {
    return blend(load_bits(t->labels + at) == c, -load(s->wrong + at), softmax_probability(s, t, c, at));
}

static void add_probabilities(const softmax *s, const tile *t, int c, double *out) {
    vec overlap = splat(0.0f), predicted = overlap, squared = overlap;
    bits count = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        bits here = load_bits(t->labels + at) == c;
        vec p = softmax_probability(s, t, c, at), error = blend(here, load(s->wrong + at), p);
        overlap += keep(here, p);
        predicted += p;
        count -= here;
        squared += error * error;
    }
    add_lanes(overlap, out + OVERLAP);
    add_lanes(predicted, out + PREDICTED);
    add_lanes(__builtin_convertvector(count, vec), out + TRUE);
    add_lanes(squared, out + ERROR);
}

/* Adds what is asked for of the label alone where a class is the label. */
static void add_at_label(const float *asked, const tile *t, int c, double *out) {
    vec sum = splat(0.0f);
    for (int at = 0; at < t->voxels; at += LANES) sum += keep(load_bits(t->labels + at) == c, load(asked + at));
    add_lanes(sum, out);
}

static void add_asked_of_label(const softmax *s, const tile *t, int kind, float exponent, int64_t columns, double *out) {
    float asked[BLOCK];
    for (int at = 0; at < t->voxels; at += LANES)
        store(asked + at, asked_of_label(kind, exponent, surprise_of_label(s, kind, exponent, at)));
    for (int c = 0; c < t->classes; c++) add_at_label(asked, t, c, out + c * columns);
}

static void add_asked_of_class(const softmax *s, const tile *t, int kind, float exponent, int c, double *out) {
    vec sum = splat(0.0f);
    for (int at = 0; at < t->voxels; at += LANES)
        sum += asked_of_class(s, t, kind, exponent, labelled_error(s, t, c, at), c, at);
    add_lanes(sum, out);
}

/* Adds the sums of a tile with labels to `out`, (classes, columns). */
static void sum_labelled(const softmax *s, const tile *t, const batch *b, int64_t columns, double *out) {
    for (int c = 0; c < t->classes; c++) {
        add_probabilities(s, t, c, out + c * columns);
        if (b->entropy) add_at_label(s->entropy, t, c, out + c * columns + ENTROPY);
    }
    for (int k = 0; k < b->asked; k++) {
        int kind = b->kinds[k];
        if (of_label_alone(kind)) add_asked_of_label(s, t, kind, b->exponents[k], columns, out + ASKED + k);
        else
            for (int c = 0; c < t->classes; c++)
                add_asked_of_class(s, t, kind, b->exponents[k], c, out + c * columns + ASKED + k);
    }
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

/* The number of each voxel's label; 0 without one. */
INLINE vec look_up(const by_class *numbers, const int32_t *labels) {
    vec found;
    for (int i = 0; i < LANES; i++) found[i] = numbers->from_not_counted[labels[i] - NOT_COUNTED];
    return found;
}

static void set_class(by_class *numbers, int c, float number) { numbers->from_not_counted[c - NOT_COUNTED] = number; }

static void find_weights(by_class *found, const float *weights, int64_t columns, int classes) {
    set_class(found, NOT_COUNTED, 0.0f);
    set_class(found, NO_CLASS, 0.0f);
    for (int c = 0; c < classes; c++) set_class(found, c, weights[c * columns]);
}

/* Whether q_c of other classes than the label is more than p_c times a number of the class. */
static int slopes_bend(const batch *b, const float *weights, int64_t columns) {
    for (int k = 0; k < b->asked; k++)
        if (!of_label_alone(b->kinds[k])) return 1;
    for (int c = 0; c < b->classes; c++)
        if (weights[c * columns + ERROR] != 0) return 1;
    return 0;
}

/* Fills in `slopes`, of classes that are not the label. */
static void find_bent_slopes(softmax *s, const tile *t, const batch *b, const float *weight, int c) {
    float *slopes = s->slopes + c * t->padded;
    for (int at = 0; at < t->voxels; at += LANES) {
        vec p = softmax_probability(s, t, c, at);
        store(slopes + at, p * (weight[PREDICTED] + 2.0f * weight[ERROR] * p));
    }
    for (int k = 0; k < b->asked; k++) {
        if (of_label_alone(b->kinds[k])) continue;
        for (int at = 0; at < t->voxels; at += LANES) {
            vec p = softmax_probability(s, t, c, at);
            vec slope = slope_of_asked_of_class(t, b->kinds[k], b->exponents[k], p, p, at);
            store(slopes + at, load(slopes + at) + weight[ASKED + k] * slope);
        }
    }
}

/* q_c of a class that is not the label. */
INLINE vec slope_of_other(const softmax *s, const tile *t, int bent, const float *weight, int c, int at) {
    if (bent) return load(s->slopes + c * t->padded + at);
    return softmax_probability(s, t, c, at) * weight[PREDICTED];
}

/* Fills in the sum of q_c over the classes that are not the label. */
INLINE void add_others(softmax *s, const tile *t, int bent, const float *weights, int64_t columns) {
    for (int at = 0; at < t->voxels; at += LANES) {
        bits label = load_bits(t->labels + at);
        vec others = splat(0.0f);
        for (int c = 0; c < t->classes; c++)
            others += keep(label != c, slope_of_other(s, t, bent, weights + c * columns, c, at));
        store(s->total + at, others);
    }
}

/* Fills in q_c of the label, without what is asked for. */
static void find_own(softmax *s, const tile *t, const float *weights, int64_t columns) {
    by_class weight;
    find_weights(&weight, weights + PREDICTED, columns, t->classes);
    for (int c = 0; c < t->classes; c++)
        set_class(&weight, c, weights[c * columns + PREDICTED] + weights[c * columns + OVERLAP]);
    for (int at = 0; at < t->voxels; at += LANES)
        store(s->own + at, look_up(&weight, t->labels + at) * load(s->right + at));
}

static void add_own_error(softmax *s, const tile *t, const float *weights, int64_t columns) {
    by_class weight;
    find_weights(&weight, weights + ERROR, columns, t->classes);
    for (int at = 0; at < t->voxels; at += LANES) {
        vec slope = look_up(&weight, t->labels + at) * load(s->wrong + at) * load(s->right + at);
        store(s->own + at, load(s->own + at) - 2.0f * slope);
    }
}

static void add_own_entropy(softmax *s, const tile *t, const float *weights, int64_t columns) {
    by_class weight;
    find_weights(&weight, weights + ENTROPY, columns, t->classes);
    for (int at = 0; at < t->voxels; at += LANES)
        store(s->own + at, load(s->own + at) - look_up(&weight, t->labels + at));
}

static void add_own_asked(softmax *s, const tile *t, int kind, float exponent, const float *weights, int64_t columns) {
    by_class weight;
    find_weights(&weight, weights, columns, t->classes);
    for (int at = 0; at < t->voxels; at += LANES) {
        vec slope;
        if (of_label_alone(kind)) slope = -slope_of_asked_of_label(kind, exponent, surprise_of_label(s, kind, exponent, at));
        else slope = slope_of_asked_of_class(t, kind, exponent, -load(s->wrong + at), load(s->right + at), at);
        store(s->own + at, load(s->own + at) + look_up(&weight, t->labels + at) * slope);
    }
}

/* Fills in what of all classes is needed for the gradient: `total` and `at_label`. */
static void open_labelled_slopes(softmax *s, const tile *t, const batch *b, const float *weights, int64_t columns) {
    s->bent = slopes_bend(b, weights, columns);
    for (int c = 0; s->bent && c < t->classes; c++) find_bent_slopes(s, t, b, weights + c * columns, c);
    if (s->bent) add_others(s, t, 1, weights, columns);
    else add_others(s, t, 0, weights, columns);
    find_own(s, t, weights, columns);
    if (s->bent) add_own_error(s, t, weights, columns);
    if (b->entropy) add_own_entropy(s, t, weights, columns);
    for (int k = 0; k < b->asked; k++)
        add_own_asked(s, t, b->kinds[k], b->exponents[k], weights + ASKED + k, columns);
    for (int at = 0; at < t->voxels; at += LANES) {
        vec others = load(s->total + at), own = load(s->own + at);
        store(s->at_label + at, own * load(s->wrong + at) - load(s->right + at) * others);
        store(s->total + at, others + own);
    }
}

INLINE void write_labelled_slopes(const softmax *s, const tile *t, int bent, int streams, const float *weight, int c,
                                  float *out) {
    for (int at = 0; at < t->voxels; at += LANES) {
        vec slope = slope_of_other(s, t, bent, weight, c, at) - softmax_probability(s, t, c, at) * load(s->total + at);
        slope = blend(load_bits(t->labels + at) == c, load(s->at_label + at), slope);
        if (streams) stream(out + at, slope);
        else store(out + at, slope);
    }
}

static void slope_labelled(const softmax *s, const tile *t, const batch *b, const float *weight, int c, float *out) {
    if (s->bent) write_labelled_slopes(s, t, 1, b->streams, weight, c, out);
    else if (b->streams) write_labelled_slopes(s, t, 0, 1, weight, c, out);
    else write_labelled_slopes(s, t, 0, 0, weight, c, out);
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
