"""What estimators from recorded gradients choose by themselves, say, and refuse."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from tests.tiny_net import DrawnTraining, drawn_training, tiny_net, tiny_queries
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    TRAK,
    GradCos,
    GradDot,
    GroupGap,
    GroupMean,
    LastLayer,
    SmoothAuroc,
    TracIn,
)
from traceprop_engine.errors import (
    CheckpointChoiceError,
    DampingError,
    EstimatorSettingError,
    FunctionalError,
    InfluenceTargetError,
    QueryShapeError,
    RowGradientsError,
)

QUERIES = np.arange(4)


@dataclass(frozen=True)
class _Weighed:
    """A functional that a user wrote."""

    given: np.ndarray
    name: str = "weighed"

    def weights(self, values):
        return self.given


def test_the_exact_solver_of_less_work_is_taken(monkeypatch):
    assert GGN.fit(drawn_training(8)).solver == "dual"
    assert GGN.fit(drawn_training(60)).solver == "primal"
    monkeypatch.setattr("traceprop_engine.attribution.ggn.DUAL_ROWS", 30)
    assert GGN.fit(drawn_training(60)).solver == "primal"


def test_out_of_reach_of_the_exact_solvers_it_takes_kronecker_directions(monkeypatch):
    assert GGN.fit(tiny_net(n_train=200, width=60), memory_bytes=1 << 20).solver == "kronecker_pca"
    monkeypatch.setattr("traceprop_engine.attribution.ggn.DUAL_ROWS", 10)
    monkeypatch.setattr("traceprop_engine.attribution.ggn.PRIMAL_PARAMETERS", 18)
    fitted = GGN.fit(drawn_training(12))
    assert fitted.solver == "kronecker_pca"
    assert "approximate, 19 Kronecker directions" in fitted.method


def test_as_many_kronecker_directions_are_kept_as_fit_the_memory():
    training = tiny_net(n_train=9000, width=8)  # 67 parameters
    fitted = GGN.fit(training, solver="kronecker_pca", memory_bytes=1 << 20)
    kept = [len(checkpoint.chosen) for checkpoint in fitted.fitted]
    assert kept == [(1 << 20) // (8 * 9000 * 3)] * 2
    queries, labels = tiny_queries(training)
    exact = GGN.fit(training).scores(queries, labels).scores
    scores = fitted.scores(queries, labels).scores
    correlation = np.corrcoef(scores.ravel(), exact.ravel())[0, 1]
    assert 0.5 < correlation < 1 - 1e-9


def test_a_method_says_how_it_was_done():
    training = drawn_training()
    assert GGN.fit(training, damping=0.5, checkpoints=[1]).method == (
        "Gauss-Newton influence, damping 0.5; exact, in the parameters; mean over 1 checkpoints"
    )
    assert "damping tr(H)/n" in GGN.fit(training, damping="trace").method
    assert "relative residual of 0.0001" in GGN.fit(training, solver="cg").method
    assert "10 steps of conjugate gradients" in EKFAC.fit(training, refinements=10).method
    assert "TRAK, 8 features (sjlt, seed 4) with curvature" in (
        TRAK.fit(training, n_features=8, projection="sjlt", seed=4, curvature=True).method
    )


def test_the_features_that_a_factored_projection_has_are_told():
    fitted = TRAK.fit(tiny_net(), n_features=11, projection="factored")
    assert fitted.n_features == fitted.fitted[0].features.shape[1] < 11
    assert f"TRAK, {fitted.n_features} features (factored" in fitted.method


@pytest.mark.parametrize("fit", [GGN.fit, EKFAC.fit, TRAK.fit, GradDot.fit, LastLayer.fit])
def test_progress_is_told_before_each_checkpoint_and_at_the_end(fit):
    told = []
    fit(drawn_training(n_checkpoints=3), progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_checkpoint_without_movement_falls_back_to_the_trace():
    training = drawn_training(n_checkpoints=1)
    still = DrawnTraining(training.train * 2, training.queries * 2)
    fitted = GGN.fit(still)
    assert (fitted.time.total, fitted.time.explained) == (0.0, 0.0)
    assert fitted.dampings == GGN.fit(still, damping="trace").dampings
    assert "damping tr(H)/n" in fitted.method


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ([], r"Checkpoints of training 'drawn': there are none; name some from 0 to 1"),
        ([0, 2], "there is no 2"),
        ([-1], "there is no -1"),
        ([0, 0], r"\[0, 0\] does not ascend"),
    ],
)
def test_checkpoints_that_are_not_there_are_refused(checkpoints, message):
    with pytest.raises(CheckpointChoiceError, match=message):
        GGN.fit(drawn_training(), checkpoints=checkpoints)


def test_a_training_without_checkpoints_is_refused():
    with pytest.raises(CheckpointChoiceError, match="record the training with checkpoints"):
        GradDot.fit(replace(drawn_training(), train=drawn_training().train[:0]))


@pytest.mark.parametrize("damping", [-1.0, float("nan"), float("inf"), "little", None, True])
def test_a_damping_that_is_none_is_refused(damping):
    for fit in (GGN.fit, EKFAC.fit, TRAK.fit):
        with pytest.raises(DampingError, match="neither 'auto'"):
            fit(drawn_training(), damping=damping)


def test_a_damping_of_zero_is_refused_where_anything_can_be_fitted():
    with pytest.raises(DampingError, match="19 features of 19 rows can fit anything"):
        TRAK.fit(drawn_training(19), n_features=64, damping=0)
    with pytest.raises(DampingError, match="only solver='primal'"):
        GGN.fit(drawn_training(20), solver="dual", damping=0.0)
    with pytest.raises(DampingError, match="divided by 0"):
        EKFAC.fit(drawn_training(), damping=0)
    with pytest.raises(DampingError, match="singular"):  # more parameters than rows
        GGN.fit(drawn_training(10), solver="primal", damping=0)


def test_a_damping_of_zero_is_exact_where_the_curvature_is_regular():
    training = drawn_training(80)
    zero = GGN.fit(training, solver="primal", damping=0).scores(QUERIES).scores
    tiny = GGN.fit(training, solver="primal", damping=1e-9).scores(QUERIES).scores
    np.testing.assert_allclose(zero, tiny, rtol=1e-6)


def test_a_damping_lost_in_rounding_is_refused():
    with pytest.raises(DampingError, match=r"singular.*pass a larger number"):
        GGN.fit(drawn_training(40), solver="dual", damping=1e-18)


@pytest.mark.parametrize(
    "fit", [GGN.fit, partial(GGN.fit, solver="dual"), partial(GGN.fit, solver="cg"), EKFAC.fit]
)
def test_a_net_that_is_sure_of_every_row_gives_no_automatic_damping(fit):
    training = drawn_training()
    sure = tuple(replace(train, curvatures=train.curvatures * 0) for train in training.train)
    with pytest.raises(DampingError, match="leave out that checkpoint or pass a number above 0"):
        fit(replace(training, train=sure))
    scores = fit(replace(training, train=sure), damping=1.0).scores(QUERIES).scores
    dots = GradDot.fit(training).scores(QUERIES).scores  # nothing but the damping is left
    np.testing.assert_allclose(scores, dots, rtol=1e-7)


@pytest.mark.parametrize("part", ["values", "slopes", "curvatures", "deltas", "inputs"])
def test_gradients_that_are_not_finite_are_refused_by_row(part):
    train = drawn_training().train[0]
    if part in {"deltas", "inputs"}:
        layer = train.layers[1]
        spoiled = getattr(layer, part).copy()
        spoiled[7] = np.inf
        layers = (train.layers[0], replace(layer, **{part: spoiled}), train.layers[2])
        broken = replace(train, layers=layers)
    else:
        spoiled = getattr(train, part).copy()
        spoiled[7] = np.nan
        broken = replace(train, **{part: spoiled})
    training = replace(drawn_training(), train=(train, broken))
    with pytest.raises(RowGradientsError, match=r"'drawn' at step 2 .*row 7 are not finite"):
        GGN.fit(training)


def test_queries_whose_gradients_are_not_finite_are_refused():
    training = drawn_training()
    queries = training.queries[0]
    broken = replace(queries, values=np.full(4, np.nan))
    fitted = GGN.fit(replace(training, queries=(broken, queries)))
    with pytest.raises(RowGradientsError, match="queries at checkpoint 0"):
        fitted.scores(QUERIES)


@pytest.mark.parametrize("fit", [GGN.fit, EKFAC.fit, GradDot.fit, GradCos.fit])
def test_gradients_whose_products_overflow_are_refused(fit):
    training = drawn_training(dtype=np.float32)

    def enlarged(rows, factor):
        layer = rows.layers[1]
        larger = replace(layer, deltas=layer.deltas * np.float32(factor))
        return replace(rows, layers=(rows.layers[0], larger, rows.layers[2]))

    train, query = training.train, training.queries
    message = "of layer 'positions' overflow float32; divide the features"
    with pytest.raises(RowGradientsError, match=message):
        fit(replace(training, train=(train[0], enlarged(train[1], 1e19))))
    fitted = fit(replace(training, queries=(query[0], enlarged(query[1], 1e19))))
    with pytest.raises(RowGradientsError, match=f"queries at checkpoint 1 .*{message}"):
        fitted.scores(QUERIES)
    large = replace(training, train=(train[0], enlarged(train[1], 1e13)))
    assert np.isfinite(fit(large).scores(QUERIES).scores).all()


def test_training_rows_without_slopes_or_of_a_concave_loss_are_refused():
    training = drawn_training()
    bare = replace(training.train[1], slopes=np.empty(0))
    with pytest.raises(RowGradientsError, match="slopes or curvatures are missing"):
        GGN.fit(replace(training, train=(training.train[0], bare)))
    with pytest.raises(RowGradientsError, match="they are of 4 rows, not 20"):
        GGN.fit(replace(training, train=(training.train[0], training.queries[0])))
    concave = replace(training.train[0], curvatures=-training.train[0].curvatures)
    with pytest.raises(RowGradientsError, match="row 0 has a negative curvature"):
        GGN.fit(replace(training, train=(concave, training.train[1])))


def test_queries_that_do_not_fit_are_refused():
    fitted = GGN.fit(tiny_net())
    queries, labels = tiny_queries(tiny_net())
    with pytest.raises(QueryShapeError, match="at least one query"):
        fitted.scores(queries[:0], labels[:0])
    with pytest.raises(QueryShapeError, match="one for each of 5 queries"):
        fitted.scores(queries, labels[:4])
    with pytest.raises(QueryShapeError, match="k must be at least 1"):
        fitted.top_k(queries, 0, labels=labels)
    with pytest.raises(QueryShapeError, match=r"direction must be one of .*'raises'.*got 'up'"):
        fitted.top_k(queries, 1, labels=labels, direction="up")
    with pytest.raises(QueryShapeError, match="direction must be one of"):
        fitted.scores(queries, labels).top_k(1, direction="up")
    squared = GGN.fit(tiny_net(n_outputs=1, loss="squared"))
    with pytest.raises(InfluenceTargetError, match="is of classifiers"):
        squared.scores(queries, labels, target="margin")


@pytest.mark.parametrize(
    ("functionals", "message"),
    [
        ([], "is missing"),
        ([GroupMean(np.zeros(4, bool), "poor")], "'poor' has a group without queries"),
        ([GroupMean(np.ones(3, bool))], "one bool for each of 4 queries"),
        ([GroupGap(np.ones(4, bool), np.arange(4))], "marks its queries by int64"),
        ([SmoothAuroc(np.ones(4, bool))], "group without queries"),
        ([SmoothAuroc(np.arange(4) < 2, temperature=0.0)], "pass one above 0"),
        ([_Weighed(np.ones(3))], "'weighed' has no finite derivative in each of 4 queries"),
        ([_Weighed(np.array([1.0, 0.0, np.nan, 0.0]))], "has no finite derivative"),
    ],
)
def test_functionals_that_queries_do_not_have_are_refused(functionals, message):
    with pytest.raises(FunctionalError, match=message):
        GradDot.fit(drawn_training()).scores(QUERIES, functionals=functionals)


def test_settings_out_of_range_are_refused():
    training = drawn_training()
    with pytest.raises(EstimatorSettingError, match="`solver` must be one of auto, dual"):
        GGN.fit(training, solver="qr")
    with pytest.raises(EstimatorSettingError, match="`memory_bytes` must be at least"):
        GGN.fit(training, memory_bytes=0)
    with pytest.raises(EstimatorSettingError, match="at least 1280000 for 400 features"):
        TRAK.fit(tiny_net(width=100), n_features=400, memory_bytes=1 << 20)
    assert TRAK.fit(training, memory_bytes=1 << 20).n_features == training.n_parameters
    with pytest.raises(EstimatorSettingError, match="`refinements` must be 0 or more"):
        EKFAC.fit(training, refinements=-1)
    with pytest.raises(EstimatorSettingError, match="names out of plain, positions, flat"):
        LastLayer.fit(training, layers=["head"])
    with pytest.raises(EstimatorSettingError, match="the training has no recipe"):
        TracIn.fit(training)
    with pytest.raises(EstimatorSettingError, match="the training has no recipe"):
        TracIn.fit(tiny_net())
    for rates in [(0.1,), (0.1, -0.1), (0.1, float("nan"))]:
        with pytest.raises(EstimatorSettingError, match="2 finite numbers from 0"):
            TracIn.fit(training, learning_rates=rates)


def test_conjugate_gradients_that_do_not_arrive_say_so(monkeypatch):
    monkeypatch.setattr("traceprop_engine.attribution.ggn._MAX_STEPS", 2)
    fitted = GGN.fit(drawn_training(40), solver="cg", damping=1e-6)
    with pytest.raises(EstimatorSettingError, match="2 steps reached a residual of"):
        fitted.scores(QUERIES)
