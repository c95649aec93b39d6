"""The arithmetic of feature scaling, written once: scalar functions that the compilers make kernels of.

How to read them. x, before ``/``, is per element. Names after it are one value for each column, which a feature is. As
in ``fastopt/rules/update.py``, there is no numeric literal: where a number is needed, it comes in as an argument of
that name.

What is returned is written back: by `scale` the element, by the others the columns' values, in order.
"""

# ---- Elements. With x = max, where divisor is max - centre as it is rounded here, the quotient is exactly 1.


def scale(x, /, centre, divisor, factor, shift):
    return (x - centre) / divisor * factor + shift


# ---- The statistics of a column. A NaN counts for nothing: it is neither lower nor higher than anything. Deviations
# ---- are measured from a value of the column's own, so that no digits are lost where all values are far from zero.


def column_stats(x, /, count, total, squares, lowest, highest, centre, one):
    zero = one - one
    deviation = x - centre if x == x else zero
    count += one if x == x else zero
    total += deviation
    squares += deviation * deviation
    lowest = x if x < lowest else lowest
    highest = x if x > highest else highest
    return count, total, squares, lowest, highest


# Zero for as long as all x are finite, and NaN from the first other one on.


def nonfinite_probe(x, /, nonfinite):
    return nonfinite + (x - x)
