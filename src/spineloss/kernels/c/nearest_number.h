/* The number of the nearest voxel that has one, by the squared distances of distance_transform.h: each carries the
   number of the voxel that it was measured to. A number is above 0; 0 is none. */
#include "distance_transform.h"

/* Along a contiguous row: the nearest before each voxel, then the nearest after it, if that is nearer. */
INLINE void number_row(const int32_t *numbers, int length, float spacing, float *squares, int32_t *found) {
    for (int i = 0, last = -1; i < length; i++) {
        if (numbers[i]) last = i;
        float away = spacing * (float)(i - last);
        squares[i] = last < 0 ? FAR : away * away;
        found[i] = last < 0 ? 0 : numbers[last];
    }
    for (int i = length - 1, next = length; i >= 0; i--) {
        if (numbers[i]) next = i;
        float away = spacing * (float)(next - i);
        if (next == length || away * away >= squares[i]) continue;
        squares[i] = away * away;
        found[i] = numbers[next];
    }
}

/* A vector of lines of squares and numbers, `stride` from voxel to voxel, in place. `scratch` holds four lines. */
INLINE void number_across(float *squares, int32_t *numbers, int length, int64_t stride, float spacing, vec *scratch) {
    vec *own = scratch, *nearest = scratch + length;
    bits *from = (bits *)(scratch + 2 * length), *before = (bits *)(scratch + 3 * length);
    for (int i = 0; i < length; i++) {
        own[i] = load(squares + i * stride);
        before[i] = load_bits(numbers + i * stride);
    }
    along_lines(own, 0, length - 1, length, spacing, nearest, from);
    for (int i = 0; i < length; i++) {
        store(squares + i * stride, nearest[i]);
        for (int lane = 0; lane < LANES; lane++)
            numbers[i * stride + lane] = nearest[i][lane] < FAR ? before[from[i][lane]][lane] : 0;
    }
}

/* Planes of numbers, along their rows and then their columns, into `squares` and `found`, whose rows are padded to
   whole vectors. */
void KERNEL(spineloss_nearest_planes)(const int32_t *numbers, int64_t planes, int64_t height, int64_t width,
                                      int64_t padded, float spacing_y, float spacing_x, float *scratch,
                                      float *squares, int32_t *found) {
    for (int64_t row = 0; row < planes * height; row++) {
        float *squared = squares + row * padded;
        int32_t *to = found + row * padded;
        number_row(numbers + row * width, (int)width, spacing_x, squared, to);
        for (int64_t x = width; x < padded; x++) {
            squared[x] = FAR;
            to[x] = 0;
        }
    }
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t x = 0; x < padded; x += LANES) {
            int64_t at = plane * height * padded + x;
            number_across(squares + at, found + at, (int)height, padded, spacing_y, (vec *)scratch);
        }
}

/* Rows `first` to `last` of every plane, across the planes, into `out`, which is not padded. */
void KERNEL(spineloss_nearest_depth)(float *squares, int32_t *found, int64_t depth, int64_t height, int64_t width,
                                     int64_t padded, int64_t first, int64_t last, float spacing_z, float *scratch,
                                     int32_t *out) {
    for (int64_t y = first; y < last; y++) {
        for (int64_t x = 0; depth > 1 && x < padded; x += LANES) {
            int64_t at = y * padded + x;
            number_across(squares + at, found + at, (int)depth, height * padded, spacing_z, (vec *)scratch);
        }
        for (int64_t z = 0; z < depth; z++) {
            int64_t row = z * height + y;
            memcpy(out + row * width, found + row * padded, width * sizeof *out);
        }
    }
}
