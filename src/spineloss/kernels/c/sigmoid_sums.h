/* The sums of one class of a tile, and their gradient, where each class has a probability p = 1 / (1 + exp(-x)).

   A row of voxels is gone through several times, in short loops: a voxel's operations wait for each other, and the
   shorter the loop, the more voxels a processor has in flight. Measured twice as fast as one loop. */
#pragma once
#include "columns.h"

/* One class of a tile. */
typedef struct {
    const float *logits, *target;
    int voxels;
    float exps[BLOCK];   /* exp(-|x|), all that is needed of an exponential */
    float lesser[BLOCK]; /* of p and 1 - p */
    float entropy[BLOCK];
    float truth[BLOCK];  /* room for a target that is labels */
} row;

/* p, and the lesser and the greater of p and 1 - p: each is exact however near 0 or 1. */
typedef struct {
    vec p, lesser, greater;
} sigmoid;

INLINE sigmoid sigmoid_of(vec x, vec e) {
    vec greater = 1.0f / (1.0f + e), lesser = e * greater;
    return (sigmoid){by_sign(x, lesser, greater), lesser, greater};
}

/* p - y */
INLINE vec error_of(vec x, vec y, vec lesser) { return by_sign(x, lesser - y, (1.0f - y) - lesser); }

INLINE vec entropy_of(vec x, vec y, vec lesser) { return vmax(splat(0.0f), x) - x * y + minus_log1m(lesser); }

/* The cross-entropy of a voxel. */
INLINE vec sigmoid_entropy(const tile *t, int c, int at) {
    vec x = load(t->logits + c * t->stride + at), e = exponential((vec)((bits)x | SIGN));
    return entropy_of(x, target_of(t, t->labelled, c, at), sigmoid_of(x, e).lesser);
}

/* Of a hard target, z being the logit towards the wrong answer: wrong = sigmoid(z), log wrong = z - c. */
INLINE surprise hard_surprise(vec x, vec y, vec lesser, vec entropy) {
    vec z = (vec)((bits)x ^ ((y > 0.5f) & SIGN)), greater = 1.0f - lesser;
    vec right = by_sign(z, greater, lesser), wrong = by_sign(z, lesser, greater);
    return (surprise){entropy, right, wrong, vmax(splat(-87.0f), z - entropy)};
}

INLINE surprise soft_surprise(vec entropy) {
    vec wrong = wrongness(entropy);
    return (surprise){entropy, 1.0f - wrong, wrong, logarithm(wrong)};
}

/* A voxel, and what a column adds of it; 0 where it is not counted. */
typedef struct {
    vec x, y, lesser, entropy;
    surprise s;
} voxel;

INLINE voxel voxel_at(const row *r, int hard, int at) {
    voxel v = {load(r->logits + at), load(r->target + at), load(r->lesser + at), load(r->entropy + at)};
    v.s = hard ? hard_surprise(v.x, v.y, v.lesser, v.entropy) : soft_surprise(v.entropy);
    return v;
}

/* The surprise, were the target 0 or 1. */
INLINE surprise surprise_at(voxel v, float y) {
    return hard_surprise(v.x, splat(y), v.lesser, entropy_of(v.x, splat(y), v.lesser));
}

INLINE vec asked_of_sigmoid(int kind, float exponent, voxel v) {
    if (kind == FOREGROUND) {
        surprise s = surprise_at(v, 1);
        return v.y * focus(s, exponent) * s.entropy;
    }
    if (kind == BACKGROUND) {
        surprise s = surprise_at(v, 0);
        return (1.0f - v.y) * focus(s, exponent) * s.entropy;
    }
    if (kind == FOCAL) return focus(v.s, exponent) * v.entropy;
    bits counted = v.x != UNCOUNTED;
    if (kind == DEVIATION || kind == MISSED)
        return keep(counted, of_error(kind, exponent, error_of(v.x, v.y, v.lesser)));
    if (kind == UNIFORM) return keep(counted, minus_log1m(v.lesser) + 0.5f * absolute(v.x));
    return keep(counted, of_entropy(kind, exponent, v.s));
}

/* Its derivative with respect to the logit. */
INLINE vec slope_of_asked_of_sigmoid(int kind, float exponent, voxel v) {
    if (kind == FOREGROUND) {
        surprise s = surprise_at(v, 1);
        return -v.y * slope_of_focus(s, exponent) * s.wrong;
    }
    if (kind == BACKGROUND) {
        surprise s = surprise_at(v, 0);
        return (1.0f - v.y) * slope_of_focus(s, exponent) * s.wrong;
    }
    vec error = error_of(v.x, v.y, v.lesser), steepness = v.lesser - v.lesser * v.lesser;
    if (kind == DEVIATION || kind == MISSED) return slope_of_error(kind, exponent, error) * steepness;
    if (kind == UNIFORM) return keep(v.x != UNCOUNTED, by_sign(v.x, v.lesser - 0.5f, 0.5f - v.lesser));
    return error * slope_of_entropy(kind, exponent, v.s);
}

static void open_sigmoid(row *r, const tile *t, int c) {
    r->logits = t->logits + c * t->stride;
    r->voxels = t->voxels;
    r->target = t->labelled ? r->truth : t->target + c * t->target_stride;
    for (int at = 0; at < r->voxels; at += LANES) {
        store(r->exps + at, exponential((vec)((bits)load(r->logits + at) | SIGN)));
        __builtin_prefetch(r->logits + at + r->voxels);
        __builtin_prefetch(r->target + at + r->voxels);
    }
    for (int at = 0; t->labelled && at < r->voxels; at += LANES)
        store(r->truth + at, keep(load_bits(t->labels + at) == c, splat(1.0f)));
}

static int is_hard(const row *r) {
    bits soft = {0};
    for (int at = 0; at < r->voxels; at += LANES) {
        vec y = load(r->target + at);
        soft |= ~((y == 0.0f) | (y == 1.0f));
    }
    return !any(soft);
}

static void add_outside(const row *r, double *out) {
    vec sum = splat(0.0f);
    for (int at = 0; at < r->voxels; at += LANES) sum += outside_of(load(r->target + at));
    add_lanes(sum, out);
}

/* Fills in the entropies, and returns their sum. */
static vec find_entropies(row *r) {
    vec sum = splat(0.0f);
    for (int at = 0; at < r->voxels; at += LANES) {
        vec entropy = entropy_of(load(r->logits + at), load(r->target + at), load(r->lesser + at));
        sum += entropy;
        store(r->entropy + at, entropy);
    }
    return sum;
}

INLINE void add_asked(const row *r, int hard, int kind, float exponent, double *out) {
    vec sum = splat(0.0f);
    for (int at = 0; at < r->voxels; at += LANES) sum += asked_of_sigmoid(kind, exponent, voxel_at(r, hard, at));
    add_lanes(sum, out);
}

/* Calls MACRO(hard, kind, exponent) with those of most losses as constants, so that these are compiled for themselves. */
#define EACH_ASKED(MACRO, hard, kind, exponent)                                     \
    if (hard && (kind) == FOCAL && (exponent) == 2.0f) MACRO(1, FOCAL, 2.0f);       \
    else if (hard && (kind) == FOCAL) MACRO(1, FOCAL, exponent);                    \
    else if (hard) MACRO(1, kind, exponent);                                        \
    else MACRO(0, kind, exponent)

static void sum_sigmoid(const tile *t, const batch *b, int c, double *out) {
    row r;
    vec overlap = splat(0.0f), predicted = overlap, truth = overlap, squared = overlap;
    bits outside = {0};
    int deeper = b->entropy || b->asked;
    open_sigmoid(&r, t, c);
    for (int at = 0; at < r.voxels; at += LANES) {
        vec y = load(r.target + at);
        sigmoid s = sigmoid_of(load(r.logits + at), load(r.exps + at));
        outside |= ~((y >= 0.0f) & (y <= 1.0f));
        overlap += vmin(y, s.p);
        predicted += s.p;
        truth += y;
        squared += (s.p - y) * (s.p - y);
        if (deeper) store(r.lesser + at, s.lesser);
    }
    add_lanes(overlap, out + OVERLAP);
    add_lanes(predicted, out + PREDICTED);
    add_lanes(truth, out + TRUE);
    add_lanes(squared, out + ERROR);
    if (any(outside)) add_outside(&r, out + OUTSIDE);
    if (deeper) add_lanes(find_entropies(&r), out + ENTROPY);
    int hard = t->labelled || (b->asked && is_hard(&r));
    for (int k = 0; k < b->asked; k++) {
#define ADD(hard, kind, exponent) add_asked(&r, hard, kind, exponent, out + ASKED + k)
        EACH_ASKED(ADD, hard, b->kinds[k], b->exponents[k]);
    }
}

/* The slopes of all columns but those that are asked for. Most losses have no `errors` among them. */
INLINE void write_slopes(row *r, const float *weights, int errors, float *out) {
    for (int at = 0; at < r->voxels; at += LANES) {
        vec x = load(r->logits + at), y = load(r->target + at);
        sigmoid s = sigmoid_of(x, load(r->exps + at));
        vec slope = weights[OVERLAP] * slope_of_overlap(s.p, y) + weights[PREDICTED], steepness = s.lesser * s.greater;
        if (errors) {
            vec error = error_of(x, y, s.lesser);
            slope = (slope + 2.0f * weights[ERROR] * error) * steepness + weights[ENTROPY] * error;
        } else
            slope *= steepness;
        store(out + at, slope);
        store(r->lesser + at, s.lesser);
    }
}

INLINE void add_asked_slopes(const row *r, int hard, int kind, float exponent, float weight, float *out) {
    for (int at = 0; at < r->voxels; at += LANES) {
        vec slope = slope_of_asked_of_sigmoid(kind, exponent, voxel_at(r, hard, at));
        store(out + at, load(out + at) + weight * slope);
    }
}

static void slope_sigmoid(const tile *t, const batch *b, int c, const float *weights, float *out) {
    row r;
    open_sigmoid(&r, t, c);
    if (weights[ERROR] != 0 || weights[ENTROPY] != 0) write_slopes(&r, weights, 1, out);
    else write_slopes(&r, weights, 0, out);
    if (!b->asked) return;
    find_entropies(&r);
    int hard = t->labelled || is_hard(&r);
    for (int k = 0; k < b->asked; k++) {
#define ADD_SLOPES(hard, kind, exponent) add_asked_slopes(&r, hard, kind, exponent, weights[ASKED + k], out)
        EACH_ASKED(ADD_SLOPES, hard, b->kinds[k], b->exponents[k]);
    }
}
