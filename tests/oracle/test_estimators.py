"""Rows through scikit-learn, and what an estimator was fitted on.

The labels of the index are planted: a result that keeps them says which rows it holds.
"""

import json
import threading

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import NMF, PCA
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils import resample, shuffle

from traceprop_engine.estimators import EstimatorFollowing, fitted_statistic
from traceprop_engine.lineage import CaptureSession

pytestmark = pytest.mark.oracle
N = 30


def visits(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "gaps": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
            "s": rng.choice(["a", "b", "c"], n),
            "y": np.arange(n) % 2,
        },
        index=1000 + rng.permutation(n),
    )


def pandas_out(estimator):
    return estimator.set_output(transform="pandas")


def columns():
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["x", "gaps"]),
            ("texts", OneHotEncoder(sparse_output=False), ["s"]),
        ]
    )


def both(run):
    frame = visits()
    wanted = run(frame)
    with CaptureSession() as session, EstimatorFollowing():
        found, lineage = session.finish(run(session.load(frame, "visits")))
    return wanted, found, lineage


def labels_of(lineage):
    """The label of the input row of each row of a result."""
    row_map = lineage.maps["visits"]
    return [visits().index[row_map.backward([i])].tolist() for i in range(row_map.n_out)]


def members_of(lineage, statistic):
    return [
        visits().index[c.members.backward([0])].tolist()
        for c in lineage.contexts
        if c.statistic == statistic
    ]


NUMBERS = ["x", "gaps"]
TRANSFORMERS = {
    "scaler": (StandardScaler, NUMBERS),
    "imputer": (SimpleImputer, NUMBERS),
    "neighbours": (lambda: KNNImputer(n_neighbors=2), NUMBERS),
    "categories": (lambda: OneHotEncoder(sparse_output=False), ["s"]),
    "quantiles": (lambda: QuantileTransformer(n_quantiles=5), ["x"]),
    "power": (PowerTransformer, ["x"]),
    "polynomials": (PolynomialFeatures, ["x"]),
    "components": (lambda: PCA(1), ["x", "y"]),
    "bins": (
        lambda: KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        ["x"],
    ),
    "pipeline": (lambda: make_pipeline(SimpleImputer(), StandardScaler(), PCA(1)), NUMBERS),
    "columns": (columns, ["x", "gaps", "s"]),
    "union": (lambda: FeatureUnion([("a", StandardScaler()), ("b", PCA(1))]), ["x", "y"]),
    "passed through": (lambda: Pipeline([("none", "passthrough"), ("s", StandardScaler())]), ["x"]),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_fitted_transformer_keeps_rows_and_names_what_it_was_fitted_on(name):
    make, names = TRANSFORMERS[name]

    def run(frame):
        frame = frame.sort_values("x")
        train, test = frame.iloc[:20], frame.iloc[20:]
        fitted = pandas_out(make()).fit(train[names])
        return fitted.transform(test[names]).iloc[::-1]

    wanted, found, lineage = both(run)
    pd.testing.assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact", lineage.reason
    assert labels_of(lineage) == [[label] for label in wanted.index]
    statistic = f"{type(make()).__name__}.fit"
    assert {c.statistic for c in lineage.contexts} == {statistic}
    train = visits().sort_values("x").index[:20]
    assert list(map(sorted, members_of(lineage, statistic))) == [sorted(train)]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_fit_and_transform_at_once(name):
    make, names = TRANSFORMERS[name]
    wanted, found, lineage = both(
        lambda frame: pandas_out(make()).fit_transform(frame.iloc[5:][names])
    )
    pd.testing.assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact"
    assert labels_of(lineage) == [[label] for label in wanted.index]
    (members,) = members_of(lineage, f"{type(make()).__name__}.fit")
    assert sorted(members) == sorted(wanted.index)


def test_targets_are_context_of_an_encoder_that_is_fitted_crosswise():
    wanted, found, lineage = both(
        lambda d: pandas_out(TargetEncoder(cv=KFold(3))).fit_transform(d[["s"]], d["y"])
    )
    pd.testing.assert_frame_equal(found, wanted)
    assert labels_of(lineage) == [[label] for label in wanted.index]
    assert sorted(members_of(lineage, "TargetEncoder.fit")[0]) == sorted(visits().index)


def test_a_selection_of_columns_depends_on_the_targets():
    wanted, found, lineage = both(
        lambda d: pandas_out(SelectKBest(k=1)).fit_transform(d[["x"]].assign(z=d["x"] ** 2), d["y"])
    )
    pd.testing.assert_frame_equal(found, wanted)
    assert members_of(lineage, "SelectKBest.fit")


def test_rows_that_stop_together_are_context_of_each_other():
    def run(d):
        fitted = pandas_out(NMF(1, max_iter=500)).fit(d[["y"]].head(20))
        return fitted.transform(d[["y"]].tail(10))

    _, _, lineage = both(run)
    assert [len(members) for members in members_of(lineage, "NMF.transform")] == [10]


def test_an_array_carries_no_rows_so_they_are_noted():
    def run(d):
        model = LogisticRegression().fit(d[["x"]].head(20), d["y"].head(20))
        scaled = StandardScaler().fit(d[["x"]]).transform(d[["x"]].tail(5))
        assert type(scaled) is np.ndarray
        return d.tail(5).assign(p=model.predict_proba(d[["x"]].tail(5))[:, 1], z=scaled[:, 0])

    wanted, found, lineage = both(run)
    pd.testing.assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact"
    sizes = {c.statistic: len(c.members.backward([0])) for c in lineage.contexts}
    assert sizes == {
        "LogisticRegression.fit": 20,
        "StandardScaler.fit": 30,
        "StandardScaler.transform": 5,
        "LogisticRegression.predict_proba": 5,
    }


def split(frame):
    train, test = train_test_split(frame, random_state=0)
    return pandas_out(StandardScaler()).fit(train[["x"]]).transform(test[["x"]])


def folds(frame):
    parts = [
        pandas_out(StandardScaler()).fit(frame[["x"]].iloc[a]).transform(frame[["x"]].iloc[b])
        for a, b in KFold(3, shuffle=True, random_state=0).split(frame)
    ]
    return pd.concat(parts)


@pytest.mark.parametrize(
    "run",
    [
        split,
        folds,
        lambda d: shuffle(d, random_state=0),
        lambda d: resample(d, random_state=0, n_samples=50),
        lambda d: resample(d, random_state=0, stratify=d["s"]),
    ],
)
def test_splits_and_samples_keep_rows(run):
    wanted, found, lineage = both(run)
    pd.testing.assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact"
    assert labels_of(lineage) == [[label] for label in wanted.index]


def test_arguments_given_by_name_in_any_order_keep_the_rows_of_the_features():
    _, _, lineage = both(
        lambda d: pandas_out(StandardScaler()).fit_transform(y=d["y"].iloc[::-1], X=d[["x"]])
    )
    assert lineage.fidelity == "exact"
    assert lineage.maps["visits"].kind == "identity"


def test_the_rows_of_a_split_are_apart():
    _, _, lineage = both(split)
    train, test = train_test_split(visits(), random_state=0)
    assert list(map(sorted, members_of(lineage, "StandardScaler.fit"))) == [sorted(train.index)]
    assert labels_of(lineage) == [[label] for label in test.index]


class Reversed(TransformerMixin, BaseEstimator):
    """A transformer of the user, which turns its rows round and names them as before."""

    def fit(self, x, y=None):
        self.n_ = len(x)
        return self

    def transform(self, x):
        return x.iloc[::-1]

    def get_feature_names_out(self, names=None):
        return np.asarray(["x"])


class PlainlyReversed:
    """The same without scikit-learn's base class, which a pipeline takes as well."""

    def fit(self, x, y=None):
        return self

    def transform(self, x):
        return x.iloc[::-1]


@pytest.mark.parametrize(
    "make",
    [
        Reversed,
        lambda: Pipeline([("own", PlainlyReversed()), ("scaled", pandas_out(StandardScaler()))]),
        lambda: FunctionTransformer(lambda d: d.iloc[::-1]),
        lambda: make_pipeline(pandas_out(StandardScaler()), Reversed()),
    ],
)
def test_a_transformer_of_the_user_is_left_to_the_capture_of_pandas(make):
    wanted, found, lineage = both(lambda d: make().fit_transform(d[["x"]]))
    pd.testing.assert_frame_equal(found, wanted)
    assert labels_of(lineage) == [[label] for label in wanted.index]
    assert wanted.index.tolist() == visits().index[::-1].tolist()


def test_a_transformer_of_the_user_that_returns_arrays_is_not_exact():
    class Arrays(Reversed):
        """Turns its rows round, and scikit-learn names them as before."""

        def transform(self, x):
            return x.to_numpy()[::-1]

    _, _, lineage = both(lambda d: pandas_out(Arrays()).fit_transform(d[["x"]]))
    assert lineage.fidelity == "claimed"
    assert {c.statistic for c in lineage.contexts} == {"DataFrame.to_numpy"}


def test_the_fitted_statistic_itself_is_written_down():
    _, _, lineage = both(
        lambda d: pandas_out(StandardScaler()).fit(d[["x"]].head(20)).transform(d[["x"]])
    )
    (context,) = lineage.contexts
    detail = json.loads(context.detail)
    x = visits()["x"].head(20)
    assert detail["estimator"] == "sklearn.preprocessing._data.StandardScaler"
    assert detail["parameters"] == {"copy": True, "with_mean": True, "with_std": True}
    assert detail["fitted"]["mean_"] == pytest.approx([x.mean()])
    assert detail["fitted"]["var_"] == pytest.approx([x.var(ddof=0)])
    assert detail["fitted"]["n_samples_seen_"] == 20


def test_two_fits_of_the_same_rows_are_two_statistics():
    def run(d):
        one = pandas_out(StandardScaler()).fit_transform(d[["x"]])
        return one.join(pandas_out(StandardScaler()).fit_transform(d[["y"]]))

    _, _, lineage = both(run)
    fitted = [json.loads(c.detail)["fitted"]["feature_names_in_"] for c in lineage.contexts]
    assert fitted == [["x"], ["y"]]


def test_parts_of_a_pipeline_are_described():
    statistic = fitted_statistic(columns().fit(visits()))
    scaler = statistic["parts"]["numbers"]["parts"]["standardscaler"]
    assert scaler["fitted"]["n_samples_seen_"] == N
    assert statistic["parts"]["texts"]["fitted"]["categories_"] == [["a", "b", "c"]]
    search = GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=2)
    described = fitted_statistic(search.fit(visits()[["x"]], visits()["y"]))
    assert described["parts"]["best_estimator"]["fitted"]["coef_"]
    json.dumps(described, allow_nan=False)


def test_a_large_array_is_described_by_its_digest():
    class Big(BaseEstimator):
        """Holds what it was fitted to."""

    estimator = Big()
    estimator.w_ = np.zeros((200, 100))
    fitted = fitted_statistic(estimator)["fitted"]["w_"]
    assert fitted["shape"] == [200, 100]
    assert len(fitted["sha256"]) == 64


def test_results_and_attributes_are_those_of_scikit_learn():
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    plain = clone(pipe).fit(visits()[["x"]], visits()["y"])
    with CaptureSession() as session, EstimatorFollowing():
        frame = session.load(visits(), "visits")
        followed = clone(pipe).fit(frame[["x"]], frame["y"])
        np.testing.assert_array_equal(
            followed.predict(frame[["x"]]), plain.predict(visits()[["x"]])
        )
        assert not hasattr(followed, "transform")
        assert followed.feature_names_in_.tolist() == ["x"]
        labels = KMeans(2, n_init=1, random_state=0).fit_predict(frame[["x"]])
        assert type(labels) is np.ndarray
        with pytest.raises(ValueError, match="feature names should match"):
            followed.predict(frame[["y"]])
    np.testing.assert_array_equal(followed[-1].coef_, plain[-1].coef_)


def test_hooks_are_taken_out_when_the_last_one_closes():
    before = (vars(StandardScaler)["fit"], vars(Pipeline)["transform"])
    outer, inner = EstimatorFollowing(), EstimatorFollowing()
    outer.open()
    inner.open()
    assert vars(StandardScaler)["fit"] is not before[0]
    outer.close()
    outer.close()
    assert vars(StandardScaler)["fit"] is not before[0]
    inner.close()
    assert (vars(StandardScaler)["fit"], vars(Pipeline)["transform"]) == before


def test_threads_do_not_meet():
    found = {}

    def work(seed):
        with CaptureSession() as session, EstimatorFollowing():
            frame = session.load(visits(seed=seed), "visits")
            for _ in range(20):
                out = pandas_out(StandardScaler()).fit_transform(frame[["x"]].iloc[seed:])
            found[seed] = session.lineage(out)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, lineage in found.items():
        assert lineage.fidelity == "exact"
        assert lineage.maps["visits"].backward([0]).tolist() == [seed]
        assert {len(c.members.backward([0])) for c in lineage.contexts} == {N - seed}
    assert len(found) == 4


def test_the_fitted_statistic_has_no_reading_of_a_clock():
    search = GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=2)
    fitted = fitted_statistic(search.fit(visits()[["x"]], visits()["y"]))["fitted"]
    assert "mean_test_score" in fitted["cv_results_"]
    assert not [name for name in (*fitted, *fitted["cv_results_"]) if "_time" in name]


@pytest.mark.parametrize("order", [["b", "a", "c"], ["c", "b", "a"]])
def test_a_set_is_described_in_one_order(order):
    scaler = StandardScaler()
    scaler.names_ = set(order)
    assert fitted_statistic(scaler)["fitted"]["names_"] == ["a", "b", "c"]


def test_texts_that_are_no_unicode_and_large_dictionaries_can_be_kept():
    scaler = StandardScaler()
    scaler.names_ = ["\ud800", {"\udfff": 1}]
    scaler.vocabulary_ = {str(i): i for i in range(20_000)}
    fitted = fitted_statistic(scaler)["fitted"]
    assert fitted["names_"] == ["\\ud800", {"\\udfff": 1}]
    assert fitted["vocabulary_"] == {"class": "builtins.dict"}
    json.dumps(fitted, ensure_ascii=False).encode()


def test_words_that_end_like_the_name_of_a_clock_are_kept():
    words = CountVectorizer().fit(["part_time work", "full_time fit"])
    assert fitted_statistic(words)["fitted"]["vocabulary_"] == {
        "fit": 0,
        "full_time": 1,
        "part_time": 2,
        "work": 3,
    }


def test_a_search_whose_candidates_have_different_parameters_is_followed():
    search = GridSearchCV(LogisticRegression(), [{"C": [1.0]}, {"tol": [0.1]}], cv=2)
    with CaptureSession() as session, EstimatorFollowing():
        frame = session.load(visits(), "visits")
        search.fit(frame[["x"]], frame["y"])
    results = fitted_statistic(search)["fitted"]["cv_results_"]
    assert (results["param_C"], results["param_tol"]) == ([1.0, None], [None, 0.1])


def test_a_single_value_in_an_array_is_that_value():
    scaler = StandardScaler()
    scaler.threshold_ = np.asarray(2.5)
    assert fitted_statistic(scaler)["fitted"]["threshold_"] == 2.5


def test_what_only_looks_like_a_collection_is_named_by_its_class():
    class Scalar:
        """Without a length, as a tensor of one number."""

        def __len__(self):
            raise TypeError

        def __iter__(self):
            raise TypeError

        def __contains__(self, value):
            raise TypeError

    scaler = StandardScaler()
    scaler.scalar_ = Scalar()
    assert fitted_statistic(scaler)["fitted"]["scalar_"]["class"].endswith("Scalar")
