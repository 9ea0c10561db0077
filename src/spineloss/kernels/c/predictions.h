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
