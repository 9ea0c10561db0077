/* The sums over voxels that losses are made of, and the focal terms that both activations share. */
#pragma once
#include "functions.h"
#include "tiles.h"

/* The sums of a class, p being its probability and y its target:
     COUNTED    how many voxels count
     OUTSIDE    how many of them have no target between 0 and 1, or a label of no class
     OVERLAP    min(p, y)
     PREDICTED  p
     TRUE       y
     ERROR      (p - y)^2
     ENTROPY    the cross-entropy c
     FOCAL      (1 - exp(-c))^gamma c, a column for each gamma
   With a sigmoid, c = max(x, 0) - x y + log(1 + exp(-|x|)); with a softmax, c = -log p, and both entropies are
   multiplied by y. */
enum { COUNTED, OUTSIDE, OVERLAP, PREDICTED, TRUE, ERROR, ENTROPY, FOCAL };
#define MOST_GAMMAS 8

/* The cross-entropy c of a voxel, exp(-c), 1 - exp(-c), and the logarithm of that. */
typedef struct {
    vec entropy, right, wrong, log_wrong;
} surprise;

/* (1 - exp(-c))^power; for gamma = 2, which most focal losses ask for, neither value nor slope needs an exponential. */
INLINE vec focus(surprise s, float power) {
    if (power == 1.0f) return s.wrong;
    return power == 2.0f ? s.wrong * s.wrong : exponential(s.log_wrong * power);
}

/* The derivative of (1 - exp(-c))^gamma c with respect to c. */
INLINE vec slope_of_focus(surprise s, float gamma) {
    return focus(s, gamma - 1.0f) * (gamma * s.right * s.entropy + s.wrong);
}

/* The derivative of min(p, y) with respect to p; a half where they are equal, as in PyTorch. */
INLINE vec slope_of_overlap(vec p, vec y) { return keep(p < y, splat(0.5f)) + keep(p <= y, splat(0.5f)); }

/* 1 where a target is not between 0 and 1, NaN included. */
INLINE vec outside_of(vec y) { return keep(~((y >= 0.0f) & (y <= 1.0f)), splat(1.0f)); }

INLINE void add_up(const vec *sums, const batch *b, double *out) {
    for (int k = 0; k < FOCAL + b->focal; k++)
        for (int i = 0; i < LANES; i++) out[k] += sums[k][i];
}
