"""The estimators in scikit-learn's machinery: its checks, pipelines, searches, data frames and names."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from tests.peers import peer
from tests.support import run_python

ours = peer("fastopt.sklearn")
base = peer("sklearn.base")
compose = peer("sklearn.compose")
checks = peer("sklearn.utils.estimator_checks")
linear_model = peer("sklearn.linear_model")
model_selection = peer("sklearn.model_selection")
pipeline = peer("sklearn.pipeline")

pytestmark = pytest.mark.peers

ESTIMATORS = [getattr(ours, name)() for name in ours.__all__]
VARIANTS = [
    *ESTIMATORS,
    ours.StandardScaler(with_mean=False),
    ours.StandardScaler(with_std=False),
    ours.MinMaxScaler((-3, 2), clip=True),
    ours.MaxAbsScaler(clip=True),
    ours.Whitener(method="pca", eps=1e-6),
]

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
every_variant = pytest.mark.parametrize("estimator", VARIANTS, ids=repr)


def data(samples=60, features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, features)) * [1, 10, 100, 0.1] + [5, 0, -30, 1]


@every_variant
def test_scikit_learn_checks(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=peer("sklearn.exceptions").SkipTestWarning)
        checks.check_estimator(estimator)


@every_variant
def test_clone_and_pickle(estimator):
    x = data()
    copy = base.clone(estimator)
    assert copy.get_params() == estimator.get_params()
    wanted = copy.fit(x).transform(x)
    again = pickle.loads(pickle.dumps(copy))
    assert np.array_equal(again.transform(x), wanted)
    assert np.array_equal(again.partial_fit(x).transform(x), copy.partial_fit(x).transform(x))


@every_estimator
def test_in_a_search(estimator):
    x = data()
    y = x[:, 0] > 5
    model = pipeline.Pipeline([("scale", base.clone(estimator)), ("classify", linear_model.LogisticRegression())])
    search = model_selection.GridSearchCV(model, {"scale__copy": [True, False], "classify__C": [1, 10]}, cv=3)
    assert search.fit(x, y).score(x, y) > 0.9


@every_estimator
def test_in_a_column_transformer(estimator):
    pandas = peer("pandas")
    frame = pandas.DataFrame(data(), columns=list("abcd"))
    transformer = compose.ColumnTransformer([("scale", base.clone(estimator), ["a", "c"])], remainder="passthrough")
    made = transformer.fit_transform(frame)
    assert np.allclose(made[:, :2], base.clone(estimator).fit_transform(frame[["a", "c"]].to_numpy()), atol=1e-9)
    assert np.array_equal(made[:, 2:], frame[["b", "d"]].to_numpy())
    assert transformer.get_feature_names_out().tolist() == ["scale__a", "scale__c", "remainder__b", "remainder__d"]


@every_estimator
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(estimator, library):
    """Results are frames if asked for, and the frame that is given stays as it is, whether its columns share memory."""
    frames = peer(library)
    x = data()
    columns = dict(zip("abcd", x.T, strict=True))
    whole = {"a": np.arange(60), "b": np.arange(60) % 7, "c": x[:, 0], "d": x[:, 1]}
    for given in (columns, whole):
        for copy in (True, False):
            frame = frames.DataFrame(given)
            kept = frame.to_numpy().copy()
            scaler = base.clone(estimator).set_params(copy=copy).set_output(transform=library).fit(frame)
            made = scaler.transform(frame)
            assert isinstance(made, frames.DataFrame)
            assert list(made.columns) == list("abcd")
            assert scaler.feature_names_in_.tolist() == list("abcd")
            assert np.allclose(made.to_numpy(), base.clone(estimator).fit_transform(kept), atol=1e-9)
            if copy:
                assert np.array_equal(frame.to_numpy(), kept)


def test_frames_with_missing_values():
    pandas = peer("pandas")
    frame = pandas.DataFrame({"a": pandas.array([1, None, 3], dtype="Int64"), "b": [0.5, np.nan, 1.5]})
    made = ours.StandardScaler().fit_transform(frame)
    assert np.array_equal(made, [[-1, -1], [np.nan, np.nan], [1, 1]], equal_nan=True)
    assert frame["a"].tolist()[0] == 1


def test_names_of_results():
    x = data()
    for estimator in ESTIMATORS:
        fitted = base.clone(estimator).fit(x)
        assert fitted.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
        assert fitted.get_feature_names_out(list("abcd")).tolist() == list("abcd")
    fewer = ours.Whitener(method="pca", n_components=2).fit(x)
    assert fewer.get_feature_names_out().tolist() == ["whitener0", "whitener1"]
    assert fewer.transform(x).shape == (60, 2)
    assert fewer.inverse_transform(fewer.transform(x)).shape == (60, 4)


def test_metadata_routing():
    config_context = peer("sklearn").config_context
    x, weights = data(), np.arange(60.0)
    with config_context(enable_metadata_routing=True):
        scaler = ours.StandardScaler().set_fit_request(sample_weight=True)
        model = pipeline.make_pipeline(scaler, linear_model.Ridge().set_fit_request(sample_weight=False))
        model.fit(x, x[:, 0], sample_weight=weights)
    assert np.allclose(model[0].mean_, np.average(x, axis=0, weights=weights))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"with_mean": 2}, "The 'with_mean' parameter of StandardScaler must be"),
        ({"copy": "no"}, "The 'copy' parameter of StandardScaler must be"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        ours.StandardScaler(**options).fit(data())
    with pytest.raises(ValueError, match="must be smaller than maximum"):
        ours.MinMaxScaler((1, 1)).fit(data())
    with pytest.raises(ValueError, match="n_components is 5; expected at most 4"):
        ours.Whitener(method="pca", n_components=5).fit(data())


@every_estimator
def test_infinities(estimator):
    x = data()
    fitted = base.clone(estimator).fit(x)
    for value in (np.inf, -np.inf):
        x[13, 2] = value
        kept = x.copy()
        for call in (base.clone(estimator).fit, fitted.partial_fit, fitted.transform, fitted.inverse_transform):
            with pytest.raises(ValueError, match="Input X contains infinity"):
                call(x)
        assert np.array_equal(x, kept)


def test_arrays_of_other_libraries():
    """They become NumPy arrays, unless array API dispatch is on, which is refused."""
    code = """
import array_api_strict, numpy as np, pytest, sklearn
from fastopt.sklearn import StandardScaler
x = np.arange(8.0).reshape(4, 2)
assert isinstance(StandardScaler().fit_transform(array_api_strict.asarray(x)), np.ndarray)
with sklearn.config_context(array_api_dispatch=True):
    assert abs(StandardScaler().fit_transform(x).mean()) < 1e-15
    with pytest.raises(TypeError, match="expected a NumPy array, or array_api_dispatch=False"):
        StandardScaler().fit(array_api_strict.asarray(x))
"""
    peer("array_api_strict")
    run_python(code, SCIPY_ARRAY_API="1")
