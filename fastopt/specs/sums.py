"""The fixed tree of a sum, which determines the bits of every result on all backends: do not tune these numbers.

The tree itself is in ``engine/core/sum_tree.h``.
"""

#: Number of terms that are added in their own type before they are added to a sum in float64. Float64 sums of all terms
#: would take two to three times as long, and the rounding error of eight float32 terms is small.
GROUP = 8

#: Lanes of a sum: element i of a part belongs to lane i % LANES.
LANES = 16

#: Number of elements of a part.
PART = 2048
