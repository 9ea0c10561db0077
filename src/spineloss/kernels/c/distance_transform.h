/* Signed Euclidean distances of a binary volume: of each voxel to the nearest one of the other label, positive outside
   the mask and negative inside.

   Squared distances are exact axis by axis: d'(i) = min_j d(j) + (spacing (i - j))^2 (Saito and Toriwaki, Pattern
   Recognition 27, 1994). The j that is nearest grows with i, so the middle of a line is searched first and halves the
   search of all that lie before and after it; a vector of lines is searched together, being near alike. */
#pragma once
#include <math.h>

#include "vectors.h"

#define FAR 1e30f /* no voxel of the other label is known */
#define DEEPEST 64

INLINE int lesser(int a, int b) { return a < b ? a : b; }

/* The least lane. */
INLINE int least(bits v) {
    int32_t found = v[0];
    for (int i = 1; i < LANES; i++) found = lesser(found, v[i]);
    return found;
}

/* Along a contiguous row, run by run of one label. */
INLINE void along_row(const uint8_t *mask, int length, float spacing, float *out) {
    for (int start = 0, end; start < length; start = end) {
        const uint8_t *other = memchr(mask + start, !mask[start], length - start);
        end = other ? (int)(other - mask) : length;
        float sign = mask[start] ? -spacing * spacing : spacing * spacing;
        float before = start ? 1 - start : FAR, after = end < length ? end : FAR;
        for (int i = start; i < end; i++) {
            float steps = i + before < after - i ? i + before : after - i;
            out[i] = steps < FAR / 2 ? steps * steps * sign : copysignf(FAR, sign);
        }
    }
}

typedef struct {
    int top, bottom; /* lines from the one to the other are not yet done */
    int low, high;   /* their nearest is between these */
} range;

/* A vector of lines, `squares` from one label and 0 on the other, along an axis; `from` is told which was nearest. */
INLINE void along_lines(const vec *squares, int top, int bottom, int length, float spacing, vec *nearest, bits *from) {
    range waiting[DEEPEST] = {{top, bottom, 0, length - 1}};
    for (int count = 1; count;) {
        range r = waiting[--count];
        int middle = (r.top + r.bottom) / 2;
        vec best = splat(2 * FAR);
        bits at = {0};
        for (int j = r.low; j <= r.high; j++) {
            float step = spacing * (float)(middle - j);
            vec squared = squares[j] + step * step;
            bits better = squared < best;
            best = blend(better, squared, best);
            at = (better & j) | (~better & at);
        }
        nearest[middle] = best;
        if (from) from[middle] = at;
        bits known = best < FAR; /* nothing is near other lines, and they must not widen the search */
        int low = least((known & at) | (~known & r.high)), high = -least((known & -at) | (~known & -r.low));
        if (r.top < middle) waiting[count++] = (range){r.top, middle - 1, r.low, high};
        if (middle < r.bottom) waiting[count++] = (range){middle + 1, r.bottom, low, r.high};
    }
}

/* A vector of lines of signed squares, `stride` floats from voxel to voxel, in place. `scratch` holds three lines. */
INLINE void across(float *squares, int length, int64_t stride, float spacing, vec *scratch) {
    vec *own = scratch, *side = scratch + length, *nearest = scratch + 2 * length;
    for (int i = 0; i < length; i++) own[i] = load(squares + i * stride);
    for (float sign = -1; sign <= 1; sign += 2) {
        int first = length, last = -1;
        for (int i = 0; i < length; i++) {
            vec value = own[i] * sign;
            bits here = value > 0.0f;
            side[i] = blend(here, value, splat(0.0f));
            if (!least(here)) continue;
            first = lesser(first, i);
            last = i;
        }
        if (last < 0) continue;
        along_lines(side, first, last, length, spacing, nearest, 0);
        for (int i = first; i <= last; i++) {
            vec old = load(squares + i * stride);
            store(squares + i * stride, blend(own[i] * sign > 0.0f, nearest[i] * sign, old));
        }
    }
}

/* Planes of a mask, along their rows and then their columns, into `squares`, whose rows are padded to whole vectors. */
void KERNEL(spineloss_distance_planes)(const uint8_t *mask, int64_t planes, int64_t height, int64_t width,
                                               int64_t padded, float spacing_y, float spacing_x, float *scratch,
                                               float *squares) {
    for (int64_t plane = 0; plane < planes; plane++, mask += height * width, squares += height * padded) {
        for (int64_t y = 0; y < height; y++) {
            along_row(mask + y * width, (int)width, spacing_x, squares + y * padded);
            for (int64_t x = width; x < padded; x++) squares[y * padded + x] = FAR;
        }
        if (!memchr(mask, !mask[0], height * width)) continue; /* nothing is near */
        for (int64_t x = 0; x < padded; x += LANES) across(squares + x, (int)height, padded, spacing_y, (vec *)scratch);
    }
}

/* Rows `first` to `last` of every plane, across the planes, into distances in `out`, which is not padded. Where there
   is no other label the distance is 0. */
void KERNEL(spineloss_distance_depth)(float *squares, int64_t depth, int64_t height, int64_t width,
                                              int64_t padded, int64_t first, int64_t last, float spacing_z,
                                              float *scratch, float *out) {
    for (int64_t y = first; y < last; y++) {
        for (int64_t x = 0; depth > 1 && x < padded; x += LANES)
            across(squares + y * padded + x, (int)depth, height * padded, spacing_z, (vec *)scratch);
        for (int64_t z = 0; z < depth; z++) {
            const float *squared = squares + (z * height + y) * padded;
            float *to = out + (z * height + y) * width;
            for (int64_t x = 0; x < width; x++) {
                float size = fabsf(squared[x]);
                to[x] = size >= FAR ? 0 : copysignf(sqrtf(size), squared[x]);
            }
        }
    }
}
