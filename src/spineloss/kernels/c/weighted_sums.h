/* Sums of predictions weighed by distance maps, and their gradient: one pass each. */
#include "functions.h"


typedef struct {
    const float *first, *second; /* distance maps */
    float power;
} fields;

/* |d|^power */
INLINE vec powered(vec d, float power) {
    if (power == 2.0f) return d * d;
    vec size = absolute(d);
    return choose(size > 0.0f, exponential(logarithm(size + 1e-30f) * power), all(power == 0.0f ? 1.0f : 0.0f));
}

INLINE vec weight_of(fields f, int64_t at) {
    return powered(load(f.first + at), f.power) + powered(load(f.second + at), f.power);
}

/* p d */
INLINE vec boundary_of(vec x, vec y, fields f, int64_t at) {
    (void)y;
    return probability_of(tail_of(x)) * load(f.first + at);
}

INLINE vec boundary_slope(vec x, vec y, fields f, int64_t at) {
    (void)y;
    return steepness_of(tail_of(x)) * load(f.first + at);
}

/* (p - y)^2 (|d|^power + |e|^power) */
INLINE vec error_of(vec x, vec y, fields f, int64_t at) {
    vec error = probability_of(tail_of(x)) - y;
    return error * error * weight_of(f, at);
}

INLINE vec error_slope(vec x, vec y, fields f, int64_t at) {
    vec tail = tail_of(x);
    return 2.0f * (probability_of(tail) - y) * steepness_of(tail) * weight_of(f, at);
}

typedef vec (*term)(vec, vec, fields, int64_t);

/* The last, incomplete vector, in room of its own. */
typedef struct {
    float logits[LANES], target[LANES], first[LANES], second[LANES];
} rest;

INLINE fields copy_rest(rest *r, const float *logits, const float *target, fields f, int64_t at, int64_t voxels) {
    size_t bytes = sizeof(float) * (voxels - at);
    memset(r, 0, sizeof *r);
    memcpy(r->logits, logits + at, bytes);
    memcpy(r->target, target + at, bytes);
    memcpy(r->first, f.first + at, bytes);
    memcpy(r->second, f.second + at, bytes);
    return (fields){r->first, r->second, f.power};
}

INLINE double sum(term of, const float *logits, const float *target, fields f, int64_t voxels) {
    double total = 0;
    for (int64_t block = 0; block < voxels; block += BLOCK) {
        vec values = {0};
        int64_t end = block + BLOCK < voxels ? block + BLOCK : voxels, at = block;
        for (; at + LANES <= end; at += LANES) values += of(load(logits + at), load(target + at), f, at);
        for (int i = 0; i < LANES; i++) total += values[i];
        if (at == end) continue;
        rest r;
        fields left = copy_rest(&r, logits, target, f, at, end);
        values = of(load(r.logits), load(r.target), left, 0);
        for (int i = 0; i < end - at; i++) total += values[i];
    }
    return total;
}

INLINE void slopes(term of, const float *logits, const float *target, fields f, int64_t voxels, float weight,
                   float *out) {
    int64_t at = 0;
    for (; at + LANES <= voxels; at += LANES)
        store(out + at, of(load(logits + at), load(target + at), f, at) * weight);
    if (at == voxels) return;
    rest r;
    fields left = copy_rest(&r, logits, target, f, at, voxels);
    vec values = of(load(r.logits), load(r.target), left, 0) * weight;
    memcpy(out + at, &values, sizeof(float) * (voxels - at));
}

/* Without a second map, sum(p d); with one, sum((p - y)^2 (|d|^power + |e|^power)). */
void KERNEL(spineloss_field_sum)(const float *logits, const float *target, const float *first,
                                         const float *second, float power, int64_t voxels, double *out) {
    if (!second) *out = sum(boundary_of, logits, logits, (fields){first, first, power}, voxels);
    else if (power == 2.0f) *out = sum(error_of, logits, target, (fields){first, second, 2.0f}, voxels);
    else *out = sum(error_of, logits, target, (fields){first, second, power}, voxels);
}

/* Their gradient to the logits, times `weight`. */
void KERNEL(spineloss_field_slope)(const float *logits, const float *target, const float *first,
                                           const float *second, float power, int64_t voxels, float weight,
                                           float *out) {
    if (!second) slopes(boundary_slope, logits, logits, (fields){first, first, power}, voxels, weight, out);
    else if (power == 2.0f) slopes(error_slope, logits, target, (fields){first, second, 2.0f}, voxels, weight, out);
    else slopes(error_slope, logits, target, (fields){first, second, power}, voxels, weight, out);
}
