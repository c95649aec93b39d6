"""Whitening: a transform to uncorrelated features."""

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

#: Number of elements of a block of samples: 2 MiB in float64.
BLOCK = 1 << 18

#: Eigenvalues below this multiple of (number of features * rounding error * largest eigenvalue) are noise. In a test of
#: 222 singular covariances, of 2 to 30 features and 5,000 to 16 million samples, the smallest was at most 1.4 times it.
ROUNDING = 4


class Whitener(Fitted[CrossProducts]):
    """Transform to uncorrelated features of variance 1.

        y = W (x - mean)         with the covariance's eigenvectors U (columns) and eigenvalues s:

        PCA: W = diag(1 / sqrt(s + eps)) U^T,   by descending eigenvalue
        ZCA: W = U diag(1 / sqrt(s + eps)) U^T

    The covariance is the sum of products of deviations, divided by n - 1. Of all whitening transforms, ZCA's result is
    closest to the data. The sign of each PCA component is chosen so that its largest weight is positive.

    Parameters
    ----------
    method : {"zca", "pca"}
        Type of whitening.
    n_components : int, optional
        With PCA, the number of components with the largest eigenvalues that are used. The results of `transform` then
        have fewer features than x; it and `inverse_transform` cannot work in place.
    eps : float >= 0
        Added to the eigenvalues, so that components that are mostly noise are amplified less.
    num_threads : optional
        See `fastopt.scaling`. It has no effect on NumPy's BLAS.

    Notes
    -----
    As scikit-learn's ``PCA(whiten=True)``, except for signs; it has no ZCA. Everything is computed in float64 by
    NumPy's BLAS and LAPACK, whose version, threads and processor affect the last bits. Samples are processed in blocks
    (2 MiB of memory, and 2 for results; in a fit, at least as large as the covariance). x must be finite: there is no
    option nan. bfloat16 can be written if it is ``ml_dtypes``'s, but not through DLPack. Features that are constant or
    linearly dependent have no variance to divide by: this raises ValueError, which reports the numerical rank of the
    covariance and the smallest sufficient eps.

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
        """Number of samples."""
        return int(self._seen().count)

    @property
    def mean(self) -> Values:
        """Mean of each feature."""
        return np.array(self._seen().mean)

    @property
    def covariance(self) -> Values:
        """Covariance of the features; zeros for one sample."""
        return self._seen().products / max(self.count - 1, 1)

    def _gather(self, x: Array, features: int | None, stream: Stream) -> CrossProducts:
        array, _pins = columns.readable(x, features, self.num_threads, stream)
        # At least as many samples as features, because merging the products takes as long as some tens of samples.
        blocks = _blocks(array, least=array.shape[1])
        gathered = (_cross_products(columns.as_float(array[rows])) for rows in blocks)
        return reduce(CrossProducts.merged, gathered)

    # ---- Whitening

    def _matrices(self) -> tuple[Values, Values]:
        """Return the matrix that whitens a row by multiplication from the right, and its inverse."""
        features, kept = self.n_features, self.n_components or self.n_features
        if kept > features:
            raise ValueError(f"n_components is {kept}; expected at most {features}, the number of features")
        covariance = self.covariance
        if not np.isfinite(covariance).all():
            raise ValueError(
                "the covariance of the fitted data is not finite in float64, because squares overflow; "
                "expected smaller numbers: multiply x by a power of 2 first"
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
                f"the covariance of the fitted data has numerical rank {rank}, with {features} features; "
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
            with np.errstate(over="ignore"):  # values that exceed float16 become infinite
                target[rows] = made
        return written


def _cross_products(block: Values) -> CrossProducts:
    """Return the statistics of a block of samples, which is overwritten.

    Deviations are from the block's own mean, with a correction for its rounding error. With any other reference value,
    such as an outlier, cancellation of large sums would give a constant feature a variance.
    """
    count, ones = np.float64(len(block)), np.ones(len(block))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = ones @ block / count  # by BLAS: with 8 features, a fit takes 31 ms in place of 63 ms with block.mean
        block -= mean
        rest = ones @ block / count
        return CrossProducts(count, mean + rest, block.T @ block - np.outer(rest, rest) * count)


def _blocks(array: np.ndarray[Any, Any], features: int = 1, least: int = 1) -> list[slice]:
    """Return slices of blocks of an array's rows."""
    some = max(1, least, BLOCK // max(1, features, array.shape[1]))
    return [slice(at, at + some) for at in range(0, array.shape[0], some)]
