"""The fixed tree of a sum: a part of every result's bits, on all backends. These numbers are not for tuning.

See ``engine/core/sum_tree.h``, which has the tree itself.
"""

#: Terms that are added in their own type before they join a sum, which is float64. Float64 sums of every term would
#: take two to three times as long; and eight float32 terms lose little.
GROUP = 8

#: Lanes of a sum: element i of a part belongs to lane i % LANES.
LANES = 16

#: Elements of a part.
PART = 2048
