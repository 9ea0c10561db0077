/* The sums of one class of a tile, and their gradient, where each class has a probability p = 1 / (1 + exp(-x)). */
#pragma once
#include "columns.h"

INLINE vec entropy_of(vec x, vec y, vec tail) { return vmax(splat(0.0f), x) - x * y + log1p_of(tail); }

/* Of a hard target, z being the logit towards the wrong answer:
     wrong = sigmoid(z),  log wrong = min(z, 0) - log(1 + exp(-|z|)),  c = max(z, 0) + log(1 + exp(-|z|))
   which spares the focal terms a logarithm and two exponentials. */
INLINE surprise hard_surprise(vec x, vec y, vec tail) {
    bits turned = (y > 0.5f) & SIGN;
    vec z = (vec)((bits)x ^ turned), positive = vmax(splat(0.0f), z), log1p = log1p_of(tail);
    vec right = probability_of((vec)((bits)tail ^ turned ^ SIGN)), wrong = probability_of((vec)((bits)tail ^ turned));
    return (surprise){positive + log1p, right, wrong, vmax(splat(-87.0f), z - positive - log1p)};
}

INLINE surprise soft_surprise(vec x, vec y, vec tail) {
    vec entropy = entropy_of(x, y, tail);
    vec wrong = wrongness(entropy);
    return (surprise){entropy, 1.0f - wrong, wrong, logarithm(wrong)};
}

/* How much of a voxel is summed: its overlap, its cross-entropy too, or what is asked for too, of a hard or any target. */
enum { OVERLAPS, ENTROPIES, ALL_HARD, ALL_SOFT };

/* A voxel, and what a column adds of it; 0 where it is not counted. */
typedef struct {
    vec x, y, tail, error;
    surprise s;
} voxel;

INLINE vec asked_of_sigmoid(int kind, float exponent, voxel v) {
    if (kind == FOREGROUND) {
        surprise s = hard_surprise(v.x, splat(1.0f), v.tail);
        return v.y * focus(s, exponent) * s.entropy;
    }
    if (kind == BACKGROUND) {
        surprise s = hard_surprise(v.x, splat(0.0f), v.tail);
        return (1.0f - v.y) * focus(s, exponent) * s.entropy;
    }
    if (kind == FOCAL) return focus(v.s, exponent) * v.s.entropy;
    bits counted = v.x != UNCOUNTED;
    if (kind == DEVIATION || kind == MISSED) return keep(counted, of_error(kind, exponent, v.error));
    if (kind == UNIFORM) return keep(counted, log1p_of(v.tail) + 0.5f * absolute(v.x));
    return keep(counted, of_entropy(kind, exponent, v.s));
}

/* Its derivative with respect to the logit. */
INLINE vec slope_of_asked_of_sigmoid(int kind, float exponent, voxel v) {
    if (kind == FOREGROUND) {
        surprise s = hard_surprise(v.x, splat(1.0f), v.tail);
        return -v.y * slope_of_focus(s, exponent) * s.wrong;
    }
    if (kind == BACKGROUND) {
        surprise s = hard_surprise(v.x, splat(0.0f), v.tail);
        return (1.0f - v.y) * slope_of_focus(s, exponent) * s.wrong;
    }
    if (kind == DEVIATION || kind == MISSED) return slope_of_error(kind, exponent, v.error) * steepness_of(v.tail);
    if (kind == UNIFORM) return keep(v.x != UNCOUNTED, probability_of(v.tail) - 0.5f);
    return v.error * slope_of_entropy(kind, exponent, v.s);
}

INLINE void add_sigmoid(vec x, vec y, int depth, const batch *b, vec *sums) {
    vec tail = tail_of(x), p = probability_of(tail), error = (rounded_of(tail) - y) - tail;
    sums[OUTSIDE] += outside_of(y);
    sums[OVERLAP] += vmin(y, p);
    sums[PREDICTED] += p;
    sums[TRUE] += y;
    sums[ERROR] += error * error;
    if (depth == OVERLAPS) return;
    if (depth == ENTROPIES) {
        sums[ENTROPY] += entropy_of(x, y, tail);
        return;
    }
    surprise s = depth == ALL_HARD ? hard_surprise(x, y, tail) : soft_surprise(x, y, tail);
    voxel v = {x, y, tail, error, s};
    sums[ENTROPY] += s.entropy;
    for (int k = 0; k < b->asked; k++) sums[ASKED + k] += asked_of_sigmoid(b->kinds[k], b->exponents[k], v);
}

INLINE vec slope_of_sigmoid(vec x, vec y, int depth, const batch *b, const float *weights) {
    vec tail = tail_of(x), p = probability_of(tail), error = (rounded_of(tail) - y) - tail;
    vec slope = weights[OVERLAP] * slope_of_overlap(p, y) + weights[PREDICTED] + 2.0f * weights[ERROR] * error;
    slope *= steepness_of(tail);
    if (depth == OVERLAPS) return slope;
    slope += error * weights[ENTROPY];
    if (depth == ENTROPIES) return slope;
    voxel v = {x, y, tail, error, depth == ALL_HARD ? hard_surprise(x, y, tail) : soft_surprise(x, y, tail)};
    for (int k = 0; k < b->asked; k++)
        slope += weights[ASKED + k] * slope_of_asked_of_sigmoid(b->kinds[k], b->exponents[k], v);
    return slope;
}

/* The cross-entropy of a voxel. */
INLINE vec sigmoid_entropy(const tile *t, int c, int at) {
    vec x = load(t->logits + c * t->stride + at);
    return entropy_of(x, target_of(t, t->labelled, c, at), tail_of(x));
}

static int is_hard(const tile *t, int c) {
    bits soft = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        vec y = target_of(t, 0, c, at);
        soft |= ~((y == 0.0f) | (y == 1.0f));
    }
    for (int i = 0; i < LANES; i++)
        if (soft[i]) return 0;
    return 1;
}

/* Calls MACRO with each depth and kind of target as constants, so that each is compiled for itself. */
#define EACH_DEPTH(MACRO)                                           \
    if (t->labelled) {                                              \
        if (b->asked) MACRO(ALL_HARD, 1)                          \
        else if (b->entropy) MACRO(ENTROPIES, 1)                    \
        else MACRO(OVERLAPS, 1)                                     \
    } else if (b->asked) {                                          \
        if (is_hard(t, c)) MACRO(ALL_HARD, 0)                     \
        else MACRO(ALL_SOFT, 0)                                   \
    } else if (b->entropy) MACRO(ENTROPIES, 0)                      \
    else MACRO(OVERLAPS, 0)

static void sum_sigmoid(const tile *t, const batch *b, int c, double *out) {
    const float *logits = t->logits + c * t->stride;
    vec sums[ASKED + MOST_ASKED] = {0};
#define SUM(depth, labelled)                                                                   \
    for (int at = 0; at < t->voxels; at += LANES)                                              \
        add_sigmoid(load(logits + at), target_of(t, labelled, c, at), depth, b, sums);
    EACH_DEPTH(SUM)
    add_up(sums, b, out);
}

static void slope_sigmoid(const tile *t, const batch *b, int c, const float *weights, float *out) {
    const float *logits = t->logits + c * t->stride;
#define SLOPE(depth, labelled)                                                                            \
    for (int at = 0; at < t->voxels; at += LANES)                                                         \
        store(out + at, slope_of_sigmoid(load(logits + at), target_of(t, labelled, c, at), depth, b, weights));
    EACH_DEPTH(SLOPE)
}
