/* Every function of the library, for vectors of LANES floats. */
#include "binned_sums.h"
#include "distance_transform.h"
#include "level_sums.h"
#include "nearest_number.h"
#include "voxel_sums.h"
#include "weighted_sums.h"
