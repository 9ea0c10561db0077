/* Sums over voxels of what the region and distribution losses are made of, and their gradient: one pass each.

   For a logit x and a target y, with p = 1 / (1 + exp(-x)):
     overlap    min(p, y)
     predicted  p
     true       y
     entropy    (1 - exp(-c))^gamma c,  c = max(x, 0) - x y + log(1 + exp(-|x|)),  for each gamma

   Floats add up within a block only, doubles beyond it. The sums may leave the tail of each logit behind, and the
   gradient take its room: it is then spared the exponential, and one volume is room enough for both. */
#include "functions.h"

#define MOST_GAMMAS 8

/* 1 - exp(-c) for c >= 0; never 0, so that its logarithm is finite */
INLINE vec wrongness(vec c) {
    vec series = all(-1.0f / 720);
    series = series * c + 1.0f / 120;
    series = series * c - 1.0f / 24;
    series = series * c + 1.0f / 6;
    series = series * c - 0.5f;
    series = series * c + 1.0f;
    return choose(c < 0.25f, series * c + 1e-30f, 1.0f - exponential(-c));
}

INLINE vec entropy_of(vec x, vec y, vec tail) {
    return larger(all(0.0f), x) - x * y + log1p_of(tail);
}

/* Of a voxel with a hard target, z being its logit towards the wrong answer:
     wrong = sigmoid(z),  log wrong = min(z, 0) - log(1 + exp(-|z|)),  c = max(z, 0) + log(1 + exp(-|z|))
   which spares the focal terms a logarithm and two exponentials. */
typedef struct {
    vec entropy, wrong, log_wrong;
} voxel;

INLINE voxel hard_voxel(vec x, vec y, vec tail) {
    bits turned = (y > 0.5f) & SIGN;
    vec z = (vec)((bits)x ^ turned), positive = larger(all(0.0f), z), log1p = log1p_of(tail);
    return (voxel){positive + log1p, probability_of((vec)((bits)tail ^ turned)),
                   larger(all(-87.0f), z - positive - log1p)};
}

INLINE voxel soft_voxel(vec x, vec y, vec tail) {
    vec entropy = entropy_of(x, y, tail);
    vec wrong = wrongness(entropy);
    return (voxel){entropy, wrong, logarithm(wrong)};
}

/* (1 - exp(-c))^power; of gamma = 2, which most focal losses ask for, neither value nor slope needs an exponential. */
INLINE vec focus(voxel v, float power) {
    if (power == 1.0f) return v.wrong;
    return power == 2.0f ? v.wrong * v.wrong : exponential(v.log_wrong * power);
}

/* How much of a voxel is looked at: its overlap, its cross-entropy too, or focal terms too, of a hard or any target. */
enum { OVERLAP, ENTROPY, FOCAL_HARD, FOCAL_SOFT };

/* Order of the sums: overlap, predicted, true, entropy, then the entropy focused by each gamma. */
INLINE void add(vec x, vec y, vec tail, int depth, const float *gammas, int count, vec *sums) {
    vec p = probability_of(tail);
    sums[0] += smaller(p, y);
    sums[1] += p;
    sums[2] += y;
    if (depth == OVERLAP) return;
    if (depth == ENTROPY) {
        sums[3] += entropy_of(x, y, tail);
        return;
    }
    voxel v = depth == FOCAL_HARD ? hard_voxel(x, y, tail) : soft_voxel(x, y, tail);
    sums[3] += v.entropy;
    for (int g = 0; g < count; g++) sums[4 + g] += focus(v, gammas[g]) * v.entropy;
}

/* Of the sums weighed by `weights`, to the logit. */
INLINE vec slope_of(vec x, vec y, vec tail, int depth, const float *gammas, int count, const float *weights) {
    vec p = probability_of(tail);
    vec grows = choose(p <= y, all(weights[0]), all(0.0f)); /* min(p, y) with p */
    vec slope = steepness_of(tail) * (grows + weights[1]);
    if (depth == OVERLAP) return slope;
    vec error = (answer_of(tail) - y) - tail, factor = all(weights[3]);
    if (depth == ENTROPY) return slope + error * factor;
    voxel v = depth == FOCAL_HARD ? hard_voxel(x, y, tail) : soft_voxel(x, y, tail);
    vec rise = (1.0f - v.wrong) * v.entropy;
    for (int g = 0; g < count; g++) /* d/dc of (1 - exp(-c))^gamma c */
        factor += focus(v, gammas[g] - 1.0f) * (gammas[g] * rise + v.wrong) * weights[4 + g];
    return slope + error * factor;
}

/* Up to a block of voxels, as floats. */
typedef struct {
    const float *logits, *target;
    float *tails;
    float decoded[BLOCK];
    int voxels, depth;
} block;

INLINE int is_hard(const float *target, int voxels) {
    vec soft = {0};
    float left = 0;
    int at = 0;
    for (; at + LANES <= voxels; at += LANES) soft += load(target + at) * (1.0f - load(target + at));
    for (; at < voxels; at++) left += target[at] * (1 - target[at]);
    for (int i = 0; i < LANES; i++) left += soft[i];
    return left == 0;
}

INLINE void open_block(block *b, const float *logits, const void *target, int is_float, float *tails, int64_t at,
                       int64_t end, int entropy, int count) {
    b->logits = logits + at;
    b->tails = tails ? tails + at : 0;
    b->voxels = (int)(end - at);
    if (is_float)
        b->target = (const float *)target + at;
    else {
        for (int i = 0; i < b->voxels; i++) b->decoded[i] = ((const uint8_t *)target)[at + i];
        b->target = b->decoded;
    }
    b->depth = count ? (is_hard(b->target, b->voxels) ? FOCAL_HARD : FOCAL_SOFT) : entropy ? ENTROPY : OVERLAP;
}

/* The last, incomplete vector of a block: its missing voxels are sure background, which adds nothing. */
INLINE void load_rest(const block *b, int at, vec *x, vec *y) {
    *x = all(-87.0f);
    *y = all(0.0f);
    for (int i = 0; at + i < b->voxels; i++) {
        (*x)[i] = b->logits[at + i];
        (*y)[i] = b->target[at + i];
    }
}

INLINE void sum_block(const block *b, int depth, const float *gammas, int count, double *out) {
    vec sums[4 + MOST_GAMMAS] = {0}, x, y, tail;
    int at = 0;
    for (; at + LANES <= b->voxels; at += LANES) {
        x = load(b->logits + at);
        tail = tail_of(x);
        if (b->tails) store(b->tails + at, tail);
        add(x, load(b->target + at), tail, depth, gammas, count, sums);
    }
    if (at < b->voxels) {
        load_rest(b, at, &x, &y);
        tail = tail_of(x);
        if (b->tails) memcpy(b->tails + at, &tail, sizeof(float) * (b->voxels - at));
        add(x, y, tail, depth, gammas, count, sums);
    }
    for (int k = 0; k < 4 + count; k++)
        for (int i = 0; i < LANES; i++) out[k] += sums[k][i];
}

INLINE void slope_block(const block *b, int depth, const float *gammas, int count, const float *weights, float *out) {
    vec x, y, tail, slope;
    int at = 0;
    for (; at + LANES <= b->voxels; at += LANES) {
        x = load(b->logits + at);
        tail = b->tails ? load(b->tails + at) : tail_of(x);
        store(out + at, slope_of(x, load(b->target + at), tail, depth, gammas, count, weights));
    }
    if (at < b->voxels) {
        load_rest(b, at, &x, &y);
        slope = slope_of(x, y, tail_of(x), depth, gammas, count, weights);
        memcpy(out + at, &slope, sizeof(float) * (b->voxels - at));
    }
}

/* Each depth apart, so that it is compiled for itself. */
#define EACH_DEPTH(CALL)                       \
    switch (b.depth) {                         \
    case OVERLAP: CALL(OVERLAP); break;        \
    case ENTROPY: CALL(ENTROPY); break;        \
    case FOCAL_HARD: CALL(FOCAL_HARD); break;  \
    default: CALL(FOCAL_SOFT);                 \
    }

/* The sums of a row of voxels, into `out` of 4 + count. A target is float, or else a byte a voxel. `entropy` and
   `count` say how much is wanted: no entropy is 0 there. Where there is room for `tails`, they are left there. */
void KERNEL(spineloss_sums)(const float *logits, const void *target, int is_float, float *tails, int64_t voxels,
                            int entropy, const float *gammas, int count, double *out) {
    block b;
    memset(out, 0, sizeof(double) * (4 + count));
    for (int64_t at = 0; at < voxels; at += BLOCK) {
        open_block(&b, logits, target, is_float, tails, at, at + BLOCK < voxels ? at + BLOCK : voxels, entropy, count);
#define SUM(depth) sum_block(&b, depth, gammas, count, out)
        EACH_DEPTH(SUM)
    }
}

/* The gradient of the sums weighed by `weights`, 4 + count, to the logits of a row. It may take the room of the
   `tails`, which spare it the exponentials. */
void KERNEL(spineloss_gradient)(const float *logits, const void *target, int is_float, float *tails, int64_t voxels,
                                int entropy, const float *gammas, int count, const float *weights, float *out) {
    block b;
    for (int64_t at = 0; at < voxels; at += BLOCK) {
        open_block(&b, logits, target, is_float, tails, at, at + BLOCK < voxels ? at + BLOCK : voxels, entropy, count);
#define SLOPE(depth) slope_block(&b, depth, gammas, count, weights, out + at)
        EACH_DEPTH(SLOPE)
    }
}
