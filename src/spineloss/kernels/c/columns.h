/* The sums over voxels that losses are made of, and the functions of a voxel's cross-entropy among them. */
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
     ASKED      the first of those that a loss asks for
   With a sigmoid, c = max(x, 0) - x y + log(1 + exp(-|x|)); with a softmax, c = -log p, and what is made of c is
   multiplied by y. */
enum { COUNTED, OUTSIDE, OVERLAP, PREDICTED, TRUE, ERROR, ENTROPY, ASKED };
#define MOST_ASKED 8

/* The kinds of columns that a loss may ask for, as columns.py has them. */
enum { FOCAL, FOREGROUND, BACKGROUND, DEVIATION, MISSED, BOX_COX, ENTROPY_POWER, UNIFORM };

/* The cross-entropy c of a voxel, exp(-c), 1 - exp(-c), and the logarithm of that. */
typedef struct {
    vec entropy, right, wrong, log_wrong;
} surprise;

/* The powers that most losses ask for need no logarithm. */
INLINE int is_easy(float power) {
    return power == 0.0f || power == 0.5f || power == 1.0f || power == 1.5f || power == 2.0f || power == 3.0f;
}

/* x^power for x >= 0, whose logarithm is known where the power is not easy */
INLINE vec power_of(vec x, vec log_x, float power) {
    if (!is_easy(power)) return exponential(log_x * power);
    vec found = power == 0.5f || power == 1.5f ? root(x) : splat(1.0f);
    for (float rest = power; rest >= 1.0f; rest -= 1.0f) found *= x;
    return found;
}

/* x^power for x >= 0; as in plain_sums.py, not of less than this, so that its slope is finite */
#define SMALLEST 1e-20f
INLINE vec raised(vec x, float power) {
    vec base = vmax(splat(SMALLEST), x);
    return power_of(base, is_easy(power) ? base : logarithm(base), power);
}

/* (1 - exp(-c))^power */
INLINE vec focus(surprise s, float power) { return power_of(s.wrong, s.log_wrong, power); }

/* The derivative of (1 - exp(-c))^gamma c with respect to c. */
INLINE vec slope_of_focus(surprise s, float gamma) {
    return focus(s, gamma - 1.0f) * (gamma * s.right * s.entropy + s.wrong);
}

/* What a column adds that is a function of the cross-entropy. */
INLINE vec of_entropy(int kind, float exponent, surprise s) {
    if (kind == BOX_COX) return wrongness(exponent * s.entropy) * (1.0f / exponent);
    if (kind == ENTROPY_POWER) return raised(s.entropy, exponent);
    return focus(s, exponent) * s.entropy;
}

/* The derivative of that with respect to c. */
INLINE vec slope_of_entropy(int kind, float exponent, surprise s) {
    if (kind == BOX_COX) return exponential(-exponent * s.entropy);
    if (kind == ENTROPY_POWER)
        return keep(~(s.entropy <= SMALLEST), exponent * raised(s.entropy, exponent - 1.0f));
    return slope_of_focus(s, exponent);
}

/* |p - y|^exponent, or where p is above y 0 if the column counts what is missed; and its derivative with respect to p. */
INLINE vec of_error(int kind, float exponent, vec error) {
    vec value = raised(absolute(error), exponent);
    return kind == MISSED ? keep(~(error >= 0.0f), value) : value;
}

INLINE vec slope_of_error(int kind, float exponent, vec error) {
    vec slope = keep(~(absolute(error) <= SMALLEST), exponent * raised(absolute(error), exponent - 1.0f));
    slope = (vec)((bits)slope | ((bits)error & SIGN));
    return kind == MISSED ? keep(~(error >= 0.0f), slope) : slope;
}

/* The derivative of min(p, y) with respect to p; a half where they are equal, as in PyTorch. */
INLINE vec slope_of_overlap(vec p, vec y) { return keep(p < y, splat(0.5f)) + keep(p <= y, splat(0.5f)); }

/* 1 where a target is not between 0 and 1, NaN included. */
INLINE vec outside_of(vec y) { return keep(~((y >= 0.0f) & (y <= 1.0f)), splat(1.0f)); }

/* Adds the lanes of a sum to one in double precision. */
INLINE void add_lanes(vec lanes, double *sum) {
    double parts[LANES];
    for (int i = 0; i < LANES; i++) parts[i] = lanes[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    *sum += parts[0];
}

INLINE void add_up(const vec *sums, const batch *b, double *out) {
    for (int k = 0; k < ASKED + b->asked; k++) add_lanes(sums[k], out + k);
}
