"""The arithmetic of feature scaling, written once: scalar functions from which the compilers make kernels.

How to read them. x, before ``/``, is per element. Names after it are one value for each column, that is, each feature.
As in ``fastopt/rules/update.py``, there are no numeric literals: a number that is needed is an argument of
that name.

The return values are written back: by `scale` to the element, by the others to the columns' values, in order.
"""

# ---- Elements. If x = max and divisor is max - centre as rounded here, the quotient is exactly 1.


def scale(x, /, centre, divisor, factor, shift):
    return (x - centre) / divisor * factor + shift


# ---- The statistics of a column. NaN has no effect: comparisons with it are false. Deviations are measured from one
# ---- value of the column, so that no digits are lost if all values are large.


def column_stats(x, /, count, total, squares, lowest, highest, centre, one):
    zero = one - one
    deviation = x - centre if x == x else zero
    count += one if x == x else zero
    total += deviation
    squares += deviation * deviation
    lowest = x if x < lowest else lowest
    highest = x if x > highest else highest
    return count, total, squares, lowest, highest


# Zero while all x are finite, and NaN from the first nonfinite one on.


def nonfinite_probe(x, /, nonfinite):
    return nonfinite + (x - x)
