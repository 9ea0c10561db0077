/* Every function of the library, for vectors of LANES floats. */
#include "distance.h"
#include "fields.h"
#include "sums.h"
