"""Whitening: features that have nothing to do with each other any more."""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal

import numpy as np

from fastopt.common.types import Array, Real, Result, Stream
from fastopt.engine.core.hyperparameters import Hyperparameters, whole
from fastopt.engine.core.options import one_of
from fastopt.engine.scaling import scaling as columns
from fastopt.scaling.scaler import Fitted
from fastopt.scaling.statistics import LEAST_VARIANCE, CrossProducts, Values

_check_eps = Hyperparameters("eps")

#: Elements of a block of samples: 2 MiB in float64.
BLOCK = 1 << 18

#: Eigenvalues are noise below so many roundings of the largest one for each feature: of 222 singular covariances, of 2
#: to 30 features and 5,000 to 16 million samples, the least eigenvalue was 1.4 of them at most.
ROUNDING = 4


class Whitener(Fitted[CrossProducts]):
    """To features that are uncorrelated, each of variance 1.

        y = W (x - mean)         with the covariance's eigenvectors U (columns) and eigenvalues s:

        PCA: W = diag(1 / sqrt(s + eps)) U^T,   by falling eigenvalue
        ZCA: W = U diag(1 / sqrt(s + eps)) U^T

    The covariance is the sum of products of deviations, divided by n - 1. Of all whitened data, ZCA's is closest to
    what it was. A component of PCA has the sign with which its largest weight is positive.

    Parameters
    ----------
    method : {"zca", "pca"}
        Which of the two.
    n_components : int, optional
        Of PCA: so many components, those with the largest eigenvalues, are kept. Results then have fewer features than
        x: of `transform` and `inverse_transform`, not in place.
    eps : float >= 0
        Is added to eigenvalues: components that are mostly noise are not made as large as the others.
    num_threads : optional
        See `fastopt.scaling`. It does not reach NumPy's BLAS.

    Notes
    -----
    scikit-learn's ``PCA(whiten=True)``, but for signs; it has no ZCA. All is computed in float64, in blocks of
    samples (2 MiB of memory, and 2 for results; in a fit, as many as the covariance has, if that is more), by
    NumPy's BLAS and LAPACK, on whose version, threads and processor the last bits depend. x must be finite: there
    is no policy for NaN. bfloat16 is written where NumPy knows it, by ``ml_dtypes``, and not by DLPack. What is
    constant, or follows from other features, has no variance to divide by: it is a ValueError, which tells the rank
    of the covariance, as far as float64 can tell it, and the least eps.

    References
    ----------
    A. Bell and T. Sejnowski, "The 'Independent Components' of Natural Scenes are Edge Filters", 1997.
    A. Kessy, A. Lewin and K. Strimmer, "Optimal Whitening and Decorrelation", 2018, table 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.scaling import Whitener
    >>> x = np.random.default_rng(0).normal(size=(100, 3)) @ [[3, 1, 0], [0, 1, 1], [0, 0, 5]]
    >>> whitener = Whitener(method="pca").fit(x)
    >>> whitener.transform_(x)
    >>> np.allclose(np.cov(x.T), np.eye(3))
    True
    """

    _kind = CrossProducts
    _options = ("method", "n_components", "eps")
    _assignable = Fitted._assignable | {"eps": lambda name, given: _check_eps(given)[0]}
    _instead = Fitted._instead | dict.fromkeys(
        ("method", "n_components"), "make another Whitener with it, and merge this one into that"
    )
    _optional = ("n_components",)

    def __init__(
        self,
        *,
        method: Literal["zca", "pca"] = "zca",
        n_components: int | None = None,
        eps: Real = 0.0,
        num_threads: int | None = None,
    ) -> None:
        super().__init__(num_threads)
        self.method = one_of("method", method, "zca", "pca")
        if n_components is not None:
            n_components = whole("n_components", n_components, "None or a whole number, 1 or more")
            if method != "pca":
                raise ValueError(f"n_components is {n_components}; expected None with method={method!r}")
        self.n_components = n_components
        self.eps = eps

    # ---- What was fitted

    @property
    def count(self) -> int:
        """How many samples were seen."""
        return int(self._seen().count)

    @property
    def mean(self) -> Values:
        """The mean of each feature."""
        return np.array(self._seen().mean)

    @property
    def covariance(self) -> Values:
        """The covariance of the features; of one sample, zeros."""
        return self._seen().products / max(self.count - 1, 1)

    def _gather(self, x: Array, features: int | None, stream: Stream) -> CrossProducts:
        array, _pins = columns.readable(x, features, self.num_threads, stream)
        # As many samples as features at least: merging a square takes as long as some tens of samples.
        blocks = _blocks(array, least=array.shape[1])
        gathered = (_cross_products(columns.as_float(array[rows])) for rows in blocks)
        return reduce(CrossProducts.merged, gathered)

    # ---- Whitening

    def _matrices(self) -> tuple[Values, Values]:
        """Return what whitens a row by multiplication from the right, and what undoes it."""
        features, kept = self.n_features, self.n_components or self.n_features
        if kept > features:
            raise ValueError(f"n_components is {kept}; expected at most {features}, as many as were fitted")
        covariance = self.covariance
        if not np.isfinite(covariance).all():
            raise ValueError(
                "the covariance of what was fitted is not finite in float64, for squares overflow; "
                "expected smaller numbers: multiply x by a power of 2 before"
            )
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
        turned = vectors.max(axis=0, initial=0) < -vectors.min(axis=0, initial=0)
        vectors = vectors * np.where(turned, -1.0, 1.0)
        rounding = ROUNDING * values.max(initial=0) * features * np.finfo(np.float64).eps
        least = max(rounding, LEAST_VARIANCE)
        spread = np.maximum(values, 0) + self.eps
        if (spread <= least).any():
            rank = int((spread > least).sum())
            fewer = f", or PCA with n_components={rank} at most" if rank else ""
            raise ValueError(
                f"the covariance of what was fitted has rank {rank} numerically, of {features} features; "
                f"expected eps above {least:g}{fewer}"
            )
        deviation = np.sqrt(spread)
        away, back = vectors / deviation, (vectors * deviation).T
        return (away, back) if self.method == "pca" else (away @ vectors.T, vectors @ back)

    def _run(self, x: Array, out: Array | None, in_place: bool, inverse: bool, stream: Stream) -> Result:
        if in_place and self.n_components not in (None, self.n_features):
            otherwise = "inverse_transform" if inverse else "transform"
            raise ValueError(f"n_components is {self.n_components}; expected None in place, or {otherwise} instead")
        mean, matrix = self._seen().mean, self._matrices()[inverse]
        features, made_features = matrix.shape
        source, target, written, _pins = columns.matrices(
            x, out, in_place, features, made_features, self.num_threads, stream
        )
        for rows in _blocks(source, target.shape[1]):
            block = columns.as_float(source[rows])
            made = block @ matrix + mean if inverse else (block - mean) @ matrix
            with np.errstate(over="ignore"):  # what is too large for float16 becomes infinite
                target[rows] = made
        return written


def _cross_products(block: Values) -> CrossProducts:
    """Of a block's samples, which are written over.

    Deviations are from the block's own mean, with a correction for its rounding: from any other value, an outlier say,
    the difference of large sums would leave a variance where there is none.
    """
    count, ones = np.float64(len(block)), np.ones(len(block))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = ones @ block / count  # by BLAS: of 8 features, a fit takes 31 ms, not 63 with block.mean
        block -= mean
        rest = ones @ block / count
        return CrossProducts(count, mean + rest, block.T @ block - np.outer(rest, rest) * count)


def _blocks(array: np.ndarray[Any, Any], features: int = 1, least: int = 1) -> list[slice]:
    """The rows of an array, some at a time."""
    some = max(1, least, BLOCK // max(1, features, array.shape[1]))
    return [slice(at, at + some) for at in range(0, array.shape[0], some)]
