/* A batch of logits with its target, read tile by tile: a few voxels of all classes, as floats that fit the cache. */
#pragma once
#include "vectors.h"

#define TILE 8192                   /* floats of a tile: 32 KiB */
#define MOST_CLASSES (TILE / LANES) /* one vector of each */

enum { FLOAT32, FLOAT16, BFLOAT16, BOOL, UINT8, INT8, INT16, INT32, INT64 };

/* A contiguous batch of logits, (N, classes, voxels). Its twin is `_Batch` in passes.py. */
typedef struct {
    const void *logits, *target; /* the target like the logits, or a label per voxel, (N, voxels), or none */
    const uint8_t *mask;         /* (N, voxels) or none; voxels of 0 are not counted */
    const float *map;            /* like the logits, or none; voxels of a softmax whose weights are all 0 are not counted */
    const float *exponents;      /* of the columns that are asked for */
    const int32_t *kinds;        /* theirs */
    int64_t classes, voxels;
    int64_t ignored; /* if `ignores`, the label of voxels that are not counted */
    int64_t asked;   /* how many they are */
    int32_t logits_type, target_type;
    int32_t labels; /* whether the target is labels */
    int32_t ignores, softmax;
    int32_t entropy; /* whether the cross-entropy is summed */
    int32_t streams; /* whether the gradient is too large for a cache to hold until it is read */
    int32_t bins;    /* of probabilities, of equal width */
} batch;

/* The classes of voxels other than 0, 1, ... */
enum { NO_CLASS = -1, NOT_COUNTED = -2 };

typedef struct {
    int classes, voxels;
    int padded;                   /* voxels, rounded up to whole vectors */
    int counted, outside;         /* voxels that count, and those of them whose label is no class */
    int whole;                    /* whether every lane of every vector counts */
    int labelled;                 /* whether `labels` are the whole target */
    const float *logits, *target, *map; /* of class 0 */
    int64_t stride, target_stride, map_stride; /* from class to class */
    int32_t labels[BLOCK];
    float own_logits[TILE], own_target[TILE], own_map[TILE]; /* room for what cannot be read in place */
} tile;

/* Tiles are far from each other in memory: the processor does not foresee the next one. */
INLINE void prefetch(const void *from, int64_t bytes) {
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)from + at);
}

/* How many voxels a tile has, in whole vectors. A softmax keeps many rows of them, which are to fit the first cache. */
static int tile_size(const batch *b) {
    int64_t size = TILE / b->classes / LANES * LANES, most = b->softmax ? BLOCK / 2 : BLOCK;
    return (int)(size < most ? size : most);
}

INLINE float float_of_bfloat16(uint16_t from) {
    uint32_t wide = (uint32_t)from << 16;
    float to;
    memcpy(&to, &wide, sizeof to);
    return to;
}

INLINE uint16_t bfloat16_of(float from) {
    uint32_t wide;
    memcpy(&wide, &from, sizeof wide);
    uint32_t rounded = (wide + 0x7fff + (wide >> 16 & 1)) >> 16; /* to even */
    return from != from ? 0x7fc0 : (uint16_t)rounded;
}

INLINE float float_of_half(uint16_t from) {
    uint32_t size = (uint32_t)(from & 0x7fff) << 13, sign = (uint32_t)(from & 0x8000) << 16;
    float to;
    memcpy(&to, &size, sizeof to);
    to *= 0x1p112f; /* the exponents' biases differ by 112 */
    memcpy(&size, &to, sizeof size);
    size |= sign | ((from & 0x7c00) == 0x7c00 ? 0x7f800000 : 0); /* infinity and NaN */
    memcpy(&to, &size, sizeof to);
    return to;
}

INLINE uint16_t half_of(float from) {
    uint32_t wide, small;
    memcpy(&wide, &from, sizeof wide);
    uint32_t sign = wide >> 16 & 0x8000, size = wide & 0x7fffffff;
    uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13; /* to even */
    float shifted;
    memcpy(&shifted, &size, sizeof shifted);
    shifted += 0.5f; /* its lowest bit is now that of the subnormal halves */
    memcpy(&small, &shifted, sizeof small);
    uint32_t to = size < 0x38800000 ? small - 0x3f000000 : normal;
    to = size >= 0x47800000 ? 0x7c00 : to;
    return (uint16_t)(sign | (size > 0x7f800000 ? 0x7e00 : to));
}

static void read_floats(const void *from, int type, int64_t at, int count, float *to) {
#define READ(element, value)                       \
    {                                              \
        const element *given = (const element *)from + at; \
        for (int i = 0; i < count; i++) to[i] = (value);   \
    }                                              \
    break;
    switch (type) {
    case FLOAT16: READ(uint16_t, float_of_half(given[i]))
    case BFLOAT16: READ(uint16_t, float_of_bfloat16(given[i]))
    case BOOL: READ(uint8_t, given[i] ? 1.0f : 0.0f)
    case UINT8: READ(uint8_t, given[i])
    default: READ(float, given[i])
    }
}

/* Labels as classes, those of no class among them; `value` is of the type `element`. */
static void read_labels(const batch *b, int64_t at, int count, int32_t *to) {
    int classes = (int)b->classes;
#define READ_LABELS(element, value)                                                            \
    {                                                                                          \
        const element *given = (const element *)b->target + at;                                \
        prefetch(given + count, sizeof(element) * count);                                      \
        for (int i = 0; i < count; i++) {                                                      \
            element label = value;                                                             \
            int known = label >= 0 && label < classes && label == (element)(int32_t)label;     \
            to[i] = known ? (int32_t)label : NO_CLASS;                                         \
        }                                                                                      \
        element ignored = (element)b->ignored;                                                 \
        if (!b->ignores || ignored != b->ignored) return; /* no label of this type is ignored */ \
        for (int i = 0; i < count; i++) to[i] = (value) == ignored ? NOT_COUNTED : to[i];        \
    }                                                                                          \
    break;
    switch (b->target_type) {
    case BOOL: READ_LABELS(uint8_t, given[i] != 0)
    case UINT8: READ_LABELS(uint8_t, given[i])
    case INT8: READ_LABELS(int8_t, given[i])
    case INT16: READ_LABELS(int16_t, given[i])
    case INT32: READ_LABELS(int32_t, given[i])
    case INT64: READ_LABELS(int64_t, given[i])
    default: READ_LABELS(float, given[i])
    }
}

/* Whether every voxel of a target of values is of one class or of none; if so its labels are found. */
static int find_labels(tile *t) {
    bits soft = {0};
    for (int at = 0; at < t->voxels; at += LANES) {
        bits label = load_bits(t->labels + at);
        vec sum = splat(0.0f);
        for (int c = 0; c < t->classes; c++) {
            vec y = load(t->target + c * t->target_stride + at);
            bits here = y == 1.0f;
            sum += y;
            soft |= ~(here | (y == 0.0f));
            label = (here & c) | (~here & label);
        }
        soft |= sum > 1.0f;
        memcpy(t->labels + at, &label, sizeof label);
    }
    for (int i = 0; i < LANES; i++)
        if (soft[i]) return 0;
    return 1;
}

#define UNCOUNTED -1e30f /* the logit of what is not counted: a sigmoid of 0, and finite */

/* Where a volume of every class begins, in place if it can be read so, or else copied to `own`. */
static const float *open_volumes(const tile *t, const void *from, int type, int64_t at, int64_t voxels, float uncounted,
                                 float *own, int64_t *stride) {
    *stride = voxels;
    if (type == FLOAT32 && t->whole) return (const float *)from + at;
    *stride = t->padded;
    for (int c = 0; c < t->classes; c++) {
        float *row = own + c * *stride;
        read_floats(from, type, at + c * voxels, t->voxels, row);
        if (t->whole) continue;
        for (int i = 0; i < *stride; i++) row[i] = t->labels[i] == NOT_COUNTED ? uncounted : row[i];
    }
    return own;
}

static void leave_out_unweighted(tile *t, const batch *b, const float *map) {
    int at = 0;
    for (; at + LANES <= t->voxels; at += LANES) {
        bits weighted = {0}, label = load_bits(t->labels + at);
        for (int c = 0; c < t->classes; c++) weighted |= load(map + c * b->voxels + at) != 0.0f;
        label = (weighted & label) | (~weighted & NOT_COUNTED);
        memcpy(t->labels + at, &label, sizeof label);
    }
    for (; at < t->voxels; at++) {
        int weighted = 0;
        for (int c = 0; c < t->classes; c++) weighted |= map[c * b->voxels + at] != 0;
        if (!weighted) t->labels[at] = NOT_COUNTED;
    }
}

/* The labels of a tile, and how many of its voxels count. */
static void find_counted(tile *t, const batch *b, int64_t first, int64_t first_of_all) {
    int voxels = t->voxels;
    for (int i = 0; i < t->padded; i++) t->labels[i] = i < voxels ? NO_CLASS : NOT_COUNTED;
    if (b->labels) read_labels(b, first, voxels, t->labels);
    if (b->mask)
        for (int i = 0; i < voxels; i++) t->labels[i] = b->mask[first + i] ? t->labels[i] : NOT_COUNTED;
    if (b->map && b->softmax) leave_out_unweighted(t, b, b->map + first_of_all);
    t->counted = t->outside = 0;
    for (int i = 0; i < t->padded; i++) {
        t->counted += t->labels[i] != NOT_COUNTED;
        t->outside += b->labels && t->labels[i] == NO_CLASS;
    }
}

/* The tile that begins at a voxel of a sample; the last one may be shorter. */
static void open_tile(tile *t, const batch *b, int64_t sample, int64_t at, int64_t last) {
    int voxels = last - at < tile_size(b) ? (int)(last - at) : tile_size(b);
    int64_t first = sample * b->voxels + at, first_of_all = sample * b->classes * b->voxels + at;
    t->classes = (int)b->classes;
    t->voxels = voxels;
    t->padded = (voxels + LANES - 1) / LANES * LANES;
    t->counted = voxels;
    t->outside = 0;
    if (b->labels || b->mask || b->softmax || voxels < t->padded) find_counted(t, b, first, first_of_all);
    t->whole = t->counted == t->padded;
    t->logits = open_volumes(t, b->logits, b->logits_type, first_of_all, b->voxels, UNCOUNTED, t->own_logits,
                             &t->stride);
    if (b->map)
        t->map = open_volumes(t, b->map, FLOAT32, first_of_all, b->voxels, 0.0f, t->own_map, &t->map_stride);
    if (b->target && !b->labels)
        t->target = open_volumes(t, b->target, b->target_type, first_of_all, b->voxels, 0.0f, t->own_target,
                                 &t->target_stride);
    t->labelled = b->labels || (b->target && b->softmax && find_labels(t));
}

/* A tile that counts whole may have no labels. */
INLINE bits uncounted_at(const tile *t, int at) { return t->whole ? (bits){0} : load_bits(t->labels + at) == NOT_COUNTED; }

/* Where a class of a tile is to be written: in `volumes`, which is like the logits, if that can hold it, or else in
   `own`, from where `close_row` takes it there. */
static float *open_row(const tile *t, const batch *b, int64_t sample, int64_t at, int c, float *own, void *volumes) {
    int direct = b->logits_type == FLOAT32 && t->voxels == t->padded;
    return direct ? (float *)volumes + (sample * b->classes + c) * b->voxels + at : own;
}

static void close_row(const tile *t, const batch *b, int64_t sample, int64_t at, int c, const float *own, void *volumes) {
    int64_t first = (sample * b->classes + c) * b->voxels + at;
    uint16_t *halves = (uint16_t *)volumes + first;
    switch (b->logits_type) {
    case FLOAT16: for (int i = 0; i < t->voxels; i++) halves[i] = half_of(own[i]); break;
    case BFLOAT16: for (int i = 0; i < t->voxels; i++) halves[i] = bfloat16_of(own[i]); break;
    default: if (t->voxels < t->padded) memcpy((float *)volumes + first, own, sizeof(float) * t->voxels);
    }
}

/* The target of a class, where `labelled` says whether labels are all of it. */
INLINE vec target_of(const tile *t, int labelled, int c, int at) {
    if (labelled) return keep(load_bits(t->labels + at) == c, splat(1.0f));
    return load(t->target + c * t->target_stride + at);
}
