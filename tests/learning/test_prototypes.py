"""Prototypes learned on exact radii: a classifier of its own, and a file that the command line takes."""

import json
import math
import time
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

import certimetric as cm
from certimetric._cli_app import app
from certimetric.exceptions import DataError, InputError
from certimetric.learning import ARML, ExactRadius, RobustPrototypes, _decay, _trials
from certimetric.learning._base import Labelled
from certimetric.learning._descent import State
from certimetric.learning._points import shifted
from certimetric.metrics import certified_accuracy, certified_accuracy_scorer


def rings(seed: int, n: int = 300):
    """Two classes, one around the other, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    angles, lengths = rng.uniform(0, 2 * np.pi, n), 1 + labels + 0.35 * rng.normal(size=n)
    return np.c_[lengths * np.cos(angles), lengths * np.sin(angles)], np.array(["in", "out"])[labels]


@pytest.fixture(scope="module")
def model():
    return RobustPrototypes(8, max_iter=80, random_state=0).fit(*rings(0))


def test_radii_of_new_points_are_larger_than_those_of_plain_nearest_neighbors(model):
    test = rings(1)
    plain = cm.CertifiedKNeighborsClassifier().fit(*rings(0)).certify(*test)
    assert len(model.prototypes_) == 16
    assert model.certify(*test).lower.mean() > 1.3 * plain.lower.mean()


def test_it_predicts_and_certifies_as_the_nearest_neighbor_of_its_prototypes(model):
    rows, labels = rings(1)
    same = cm.CertifiedKNeighborsClassifier().fit(model.prototypes_, model.prototype_labels_)
    assert np.array_equal(model.predict(rows), same.predict(rows))
    assert np.array_equal(model.certify(rows, labels).lower, same.certify(rows, labels).lower)
    assert model.score(rows, labels) == np.mean(model.predict(rows) == labels)


def test_a_clean_objective_keeps_as_many_points_right_as_the_plain_nearest_neighbor():
    train, test = rings(0), rings(1)
    plain = cm.CertifiedKNeighborsClassifier().fit(*train)
    area, clean = (
        RobustPrototypes(8, objective=goal, max_iter=40, random_state=0).fit(*train)
        for goal in ("area", "clean")
    )
    assert clean.score(*test) >= plain.score(*test)
    assert clean.certify(*test).lower.mean() > plain.certify(*test).lower.mean()
    assert area.decay_ == np.inf
    assert clean.decay_ <= clean.cap_


def test_a_short_decay_puts_small_radii_first():
    data = load_iris(return_X_y=True)
    short, long = (RobustPrototypes(2, decay=d, max_iter=60, random_state=0).fit(*data) for d in (0.1, 50.0))
    assert (short.decay_, long.decay_) == (0.1, 50.0)
    few, many = (model.certify(*data) for model in (short, long))
    assert few.certified_error(0.05) < 0.5 * many.certified_error(0.05)
    assert many.lower.mean() > 1.3 * few.lower.mean()


def test_a_learner_of_metrics_is_cloned_and_fitted():
    train, learner = rings(0), ExactRadius(max_iter=3, random_state=0)
    model = RobustPrototypes(4, metric=learner, max_iter=3, random_state=0).fit(*train)
    assert np.array_equal(model.components_, learner.fit(*train).components_)


def test_a_learner_without_a_seed_gets_one_that_the_fit_determines(tmp_path):
    learner = ARML(max_iter=3)
    options = {"n_prototypes": 4, "metric": learner, "max_iter": 3, "random_state": 0}
    one, two = (RobustPrototypes(**options).fit(*rings(0)) for _ in range(2))
    assert np.array_equal(one.components_, two.components_)
    other = RobustPrototypes(**options | {"random_state": 1}).fit(*rings(0))
    assert not np.array_equal(one.components_, other.components_)
    assert learner.random_state is None
    # So that a fit goes on from its checkpoint.
    options["checkpoint"] = tmp_path / "fit.npz"
    for _ in range(2):
        assert np.array_equal(RobustPrototypes(**options).fit(*rings(0)).prototypes_, one.prototypes_)


def test_learners_within_a_learner_get_seeds_too():
    inner = RobustPrototypes(4, metric=ARML(max_iter=3), max_iter=3, learn_metric=True)
    one, two = (
        RobustPrototypes(4, metric=inner, max_iter=3, random_state=0).fit(*rings(0)) for _ in range(2)
    )
    assert np.array_equal(one.components_, two.components_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_choice_of_a_decay_is_determined_by_the_seed(monkeypatch):
    metrics, split = [], _decay._split

    def listen(*arguments):
        found = split(*arguments)
        metrics.append(found.metric.components_)
        return found

    monkeypatch.setattr(_decay, "_split", listen)
    for _ in range(2):
        model = RobustPrototypes(4, objective="clean", metric=ARML(max_iter=3), max_iter=3, random_state=0)
        model.fit(*rings(0, 90))
    assert len(metrics) == 6
    assert np.array_equal(metrics[:3], metrics[3:])


@pytest.mark.parametrize(
    "outer",
    [
        RobustPrototypes(4, metric=ARML(random_state=0), random_state=0),
        RobustPrototypes(4, objective="clean", metric=ARML(random_state=0), random_state=0),
        cm.CertifiedKNeighborsClassifier(metric=ARML(random_state=0)),
    ],
)
def test_ctrl_c_in_the_fit_of_a_metric_ends_the_fit_around_it(monkeypatch, outer):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ARML, "_epoch", interrupted)
    with warnings.catch_warnings():
        # None that says that something is kept.
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            outer.fit(*rings(0))


def test_certified_accuracy_is_that_of_the_prototypes(model):
    points = rings(1)
    share = (model.certify(*points).lower > 0.1).mean()
    assert certified_accuracy(model, *points, 0.1) == share
    pipeline = make_pipeline(StandardScaler(), RobustPrototypes(2, max_iter=2, random_state=0))
    scorer = certified_accuracy_scorer(0.1)
    search = GridSearchCV(pipeline, {"robustprototypes__n_prototypes": [2, 4]}, scoring=scorer, cv=2)
    search.fit(*rings(0))
    assert 0 < search.best_score_ <= 1
    assert scorer(search, *points) == certified_accuracy(search.best_estimator_, *points, 0.1)
    assert (cross_val_score(pipeline, *rings(0), scoring=scorer, cv=2) > 0).all()


def chosen(monkeypatch, wrong, plain=100, whole=lambda share: True, seconds=math.inf):
    """The share of the cap that is chosen by what is wrong by share, of 1,000 rows; and the shares tried."""
    tried, rows = [], np.arange(1000)
    data = Labelled(*rings(0), np.array(["in", "out"]))

    def trial(model, splits, decay, end):
        share = round(1 / decay, 1)
        tried.append(share)
        # Forty of the rows that the plain 1-NN has wrong, if so many, and others.
        return _decay.Trial((rows >= 60) & (rows < 60 + wrong[share]), whole(share))

    monkeypatch.setattr(_decay, "_splits", lambda *_: [_decay.Split(data, None, None, rows < plain, 0)])
    monkeypatch.setattr(_decay, "_try", trial)
    model = RobustPrototypes(2, objective="clean", random_state=0)
    state = State({}, np.random.default_rng(0), deadline=time.monotonic() + seconds)
    share = round(1 / _decay.choose_decay(model, rings(0), 1.0, state, lambda: None), 1)
    assert len(set(tried)) == len(tried) <= 7
    return share, tried


@pytest.mark.parametrize(
    ("wrong", "share"),
    [
        # The longest with which fewer are wrong than by the plain 1-NN, 100, by a standard error.
        ({1: 140, 2: 120, 1.4: 130, 4: 80, 2.8: 95, 8: 80}, 4),
        ({1: 140, 2: 120, 4: 80, 2.8: 85, 5.7: 80}, 2.8),
        ({1: 80, 2: 80}, 1),
        # A tenth fewer are worth half a decay, and another tenth the half of that; down to a 32nd.
        ({1: 80, 2: 71, 4: 71}, 2),
        ({1: 80, 2: 73}, 1),
        ({1: 80, 2: 71, 4: 62, 8: 57}, 4),
        ({1: 80, 2: 70, 4: 60, 8: 50, 16: 40, 32: 30}, 32),
        ({1: 140, 2: 120, 4: 80, 2.8: 85, 5.7: 75, 11.3: 60, 22.6: 50}, 22.6),
        # But one row is chance.
        ({1: 10, 2: 9}, 1),
        # No fewer but by chance: the longest that does no harm, else the best.
        ({1: 140, 2: 130, 4: 99, 8: 98, 16: 97, 32: 96}, 4),
        ({1: 140, 2: 130, 4: 120, 8: 119, 16: 118, 32: 117}, 32),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_decay_is_chosen_by_what_is_wrong(monkeypatch, wrong, share):
    assert chosen(monkeypatch, wrong)[0] == share


def test_nothing_is_better_than_no_row_wrong(monkeypatch):
    assert chosen(monkeypatch, {1: 0, 2: 0}, plain=0) == (1, [1, 2])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_there_was_no_time_to_learn_says_nothing_of_its_decay(monkeypatch):
    cut = {"whole": lambda share: share < 2}
    assert chosen(monkeypatch, {1: 80, 2: 10}, **cut)[0] == 1
    assert chosen(monkeypatch, {1: 140, **dict.fromkeys([2, 4, 8, 16, 32], 10)}, **cut)[0] == 1
    # Without time there is one trial.
    assert chosen(monkeypatch, {1: 80, 2: 10}, seconds=0.0) == (1, [1])
    assert chosen(monkeypatch, {1: 140, 2: 10}, seconds=0.0) == (1, [1])


def test_a_file_is_certified_with_as_many_threads_as_are_asked_for(model, tmp_path):
    model.save(tmp_path / "points.npz")
    loaded = RobustPrototypes.load(tmp_path / "points.npz").set_params(n_jobs=2)
    rows, labels = rings(1)
    assert np.array_equal(loaded.certify(rows, labels).lower, model.certify(rows, labels).lower)
    assert loaded.classifier_.n_jobs == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_time_that_the_choice_took_counts():
    model = RobustPrototypes(4, objective="clean", time_limit=1e-3, random_state=0).fit(*rings(0))
    assert model.stop_reason_ == "time_limit"


def test_one_radius_is_what_is_optimised():
    train, test = rings(0), rings(1)
    small, large = (
        RobustPrototypes(8, eps=eps, max_iter=60, random_state=0).fit(*train) for eps in (0.05, 0.4)
    )
    assert (small.cap_, large.cap_) == pytest.approx((0.075, 0.6))
    errors = [model.certify(*test).certified_error(0.4) for model in (small, large)]
    assert errors[1] < errors[0]


def test_a_metric_that_is_given_is_kept_and_one_that_is_learned_moves():
    train = rings(0)
    given = ExactRadius(max_iter=3, random_state=0).fit(*train)
    kept = RobustPrototypes(4, metric=given, max_iter=3, random_state=0).fit(*train)
    assert np.array_equal(kept.components_, given.components_)
    moved = RobustPrototypes(4, metric=given, learn_metric=True, max_iter=3, random_state=0).fit(*train)
    assert moved.components_.shape == (2, 2)
    assert not np.array_equal(moved.components_, given.components_)


def test_threads_change_no_bit():
    one, two = (RobustPrototypes(8, max_iter=3, n_jobs=n, random_state=0).fit(*rings(0)) for n in (1, 2))
    assert np.array_equal(one.prototypes_, two.prototypes_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("objective", ["area", "clean"])
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path, objective):
    options = {"n_prototypes": 4, "objective": objective, "max_iter": 20, "random_state": 0}
    whole = RobustPrototypes(**options).fit(*rings(0))
    options["checkpoint"] = tmp_path / "fit.npz"
    RobustPrototypes(**options, callback=lambda progress: progress.epoch == 12).fit(*rings(0))
    rest = RobustPrototypes(**options).fit(*rings(0))
    assert rest.n_iter_ == 20
    assert np.array_equal(rest.prototypes_, whole.prototypes_)


def test_a_checkpoint_of_another_metric_is_refused(tmp_path):
    options = {"n_prototypes": 4, "max_iter": 2, "random_state": 0, "checkpoint": tmp_path / "fit.npz"}
    one, two = (cm.Mahalanobis.from_components(np.diag([1.0, x])) for x in (1.0, 2.0))
    RobustPrototypes(**options, metric=one).fit(*rings(0))
    with pytest.raises(DataError, match="other parameters"):
        RobustPrototypes(**options, metric=two).fit(*rings(0))


def test_a_fit_goes_on_with_the_last_prototypes_of_the_same_classes_only():
    rows, labels = rings(0)
    whole = RobustPrototypes(4, max_iter=6, random_state=0).fit(rows, labels)
    parts = RobustPrototypes(4, max_iter=6, warm_start=True, random_state=0)
    parts.set_params(callback=lambda progress: progress.epoch == 3).fit(rows, labels)
    parts.set_params(callback=None).fit(rows, labels)
    assert np.array_equal(parts.prototypes_, whole.prototypes_)
    with pytest.raises(ValueError, match="other classes"):
        parts.fit(rows, np.where(labels == "in", "a", "b"))
    with pytest.raises(InputError, match="n_prototypes is 3, but warm_start goes on with 4 of a class"):
        parts.set_params(n_prototypes=3).fit(rows, labels)


def test_a_fit_goes_on_with_as_many_prototypes_whatever_the_number_of_rows():
    rows, labels = rings(0)
    some = np.random.default_rng(0).permutation(len(rows))[: len(rows) // 4]
    model = RobustPrototypes(max_iter=2, warm_start=True, random_state=0).fit(rows[some], labels[some])
    few = len(model.prototypes_)
    first = model.prototypes_.copy()
    model.set_params(max_iter=4).fit(rows, labels)
    assert (len(model.prototypes_), model.n_iter_) == (few, 4)
    assert len(RobustPrototypes(max_iter=1, random_state=0).fit(rows, labels).prototypes_) > few
    assert not np.array_equal(model.prototypes_, first)


def test_labels_that_no_file_takes_are_refused():
    rows, labels = rings(0)
    dates = np.where(labels == "in", np.datetime64("2020-01-01"), np.datetime64("2021-01-01"))
    with pytest.raises(InputError, match=r"y has datetime64\[D\] labels, but labels are integers"):
        RobustPrototypes(2, max_iter=1).fit(rows, dates)


def test_a_metric_that_is_zero_is_nothing_to_begin_with():
    with pytest.raises(InputError, match="metric is zero everywhere"):
        RobustPrototypes(2, max_iter=1, metric=np.zeros((2, 2)), learn_metric=True).fit(*rings(0))


def test_rounded_prototypes_are_those_that_are_certified_and_kept(tmp_path):
    test = rings(1)
    whole, half = (
        RobustPrototypes(8, max_iter=20, precision=precision, random_state=0).fit(*rings(0))
        for precision in ("float64", "float16")
    )
    assert np.array_equal(half.prototypes_, whole.prototypes_.astype(np.float16).astype(float))
    assert half.certify(*test).lower == pytest.approx(whole.certify(*test).lower, abs=0.01)
    for model in (whole, half):
        model.save(tmp_path / f"{model.precision}.npz")
    with np.load(tmp_path / "float16.npz") as file:
        assert file["X"].dtype == np.float16
    again = RobustPrototypes.load(tmp_path / "float16.npz")
    assert np.array_equal(again.prototypes_, half.prototypes_)
    assert np.array_equal(again.certify(*test).lower, half.certify(*test).lower)


@pytest.mark.parametrize(("scale", "shift"), [(1e-8, 0.0), (1e6, 0.0), (0.05, 1000.0)])
def test_a_precision_that_does_not_hold_the_data_is_refused_before_any_work(scale, shift):
    rows, labels = rings(0)
    with pytest.raises(ValueError, match="precision='float16' is too coarse: of numbers up to"):
        RobustPrototypes(4, precision="float16").fit(rows * scale + shift, labels)
    with pytest.raises(ValueError, match="precision must be"):
        RobustPrototypes(4, precision="float8").fit(rows, labels)


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_very_small_and_large_magnitudes_go_with_binary64(scale):
    rows, labels = rings(0)
    model = RobustPrototypes(4, max_iter=3, random_state=0).fit(rows * scale, labels)
    assert model.score(rows * scale, labels) > 0.6


def test_a_standard_needs_classes_to_hold_rows_out_of():
    with pytest.raises(ValueError, match="objective='clean' holds out a third"):
        RobustPrototypes(1, objective="clean").fit(np.eye(4), [0, 1, 0, 1])


def test_few_prototypes_are_never_left_without_any():
    rows, labels = rings(0)
    # Of eight, one step in 256 would be before none.
    model = RobustPrototypes(4, max_iter=80, batch_size=30, random_state=0).fit(rows, labels)
    assert model.n_iter_ == 80


def test_a_standard_that_is_not_met_is_told():
    # One prototype in the middle of each ring: hardly a point of the outer one is right.
    with pytest.warns(ConvergenceWarning, match="held out"):
        RobustPrototypes(1, objective="clean", max_iter=2, random_state=0).fit(*rings(0))


def test_images_are_moved_by_one_pixel_and_keep_their_ink():
    image = np.zeros((1, 5, 4))
    image[0, 2, 1] = 1.0
    rows = np.repeat(image.reshape(1, -1), 200, axis=0)
    moved = shifted(rows, (5, 4), np.random.default_rng(0))
    places = {divmod(int(row.argmax()), 4) for row in moved}
    assert places == {(2, 1), (1, 1), (3, 1), (2, 0), (2, 2)}
    assert np.array_equal(moved.sum(axis=1), rows.sum(axis=1))
    assert 0.3 < np.mean(moved.argmax(axis=1) != 9) < 0.5
    assert rows.sum() == 200


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("options", "epochs", "per_class"),
    [
        ({"objective": "area"}, 200, 112),
        ({"objective": "clean"}, 800, 224),
        ({"objective": "clean", "max_iter": 7}, 7, 224),
    ],
)
def test_clean_images_take_more_points_and_steps_and_trials_half_of_them(
    monkeypatch, options, epochs, per_class
):
    made, fit = [], _trials.fit_whole

    def listen(trial, *data):
        made.append(trial.max_iter)
        # What trials settle on is not asked here: one epoch is as good.
        return fit(trial.set_params(max_iter=1), *data)

    monkeypatch.setattr(_trials, "fit_whole", listen)
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(1000, 6)), np.arange(1000) % 2
    rows[:, 0] += 6 * labels
    model = RobustPrototypes(shifts=(2, 3), random_state=0, callback=lambda _: True, **options)
    model.fit(rows, labels)
    assert model.max_iter_ == epochs
    assert len(model.prototypes_) == 2 * per_class
    assert set(made) == ({math.ceil(epochs / 2)} if options["objective"] == "clean" else set())


def test_a_file_gives_back_the_classifier(model, tmp_path):
    model.save(tmp_path / "prototypes.npz")
    loaded = RobustPrototypes.load(tmp_path / "prototypes.npz")
    test = rings(1)
    assert np.array_equal(loaded.certify(*test).lower, model.certify(*test).lower)
    assert loaded.classes_.tolist() == ["in", "out"]
    assert loaded.metric_.is_euclidean


def test_the_command_line_learns_prototypes_and_certifies_them(tmp_path):
    (rows, labels), (points, truth) = rings(0), rings(1)
    data, out = tmp_path / "data.npz", tmp_path / "prototypes.npz"
    np.savez(data, X_train=rows, y_train=labels, X_test=points, y_test=truth)
    learn = ["learn", "prototypes", "--train", data, "--out", out, "--n-prototypes", 5, "--max-iter", 5, "-q"]
    assert CliRunner().invoke(app, list(map(str, learn))).exit_code == 0
    certify = [
        "certify",
        "--train",
        out,
        "--metric",
        out,
        "--test",
        data,
        "--out",
        tmp_path / "run.npz",
        "-q",
    ]
    result = CliRunner().invoke(app, list(map(str, certify)))
    assert result.exit_code == 0, result.output
    found = cm.Certification.load(tmp_path / "run.npz").lower
    np.testing.assert_allclose(found, RobustPrototypes.load(out).certify(points, truth).lower, rtol=1e-9)


def test_the_command_line_refuses_a_scale_that_a_file_of_prototypes_would_not_have(tmp_path):
    np.savez(tmp_path / "data.npz", X=rings(0)[0], y=rings(0)[1])
    learn = ["learn", "prototypes", "--train", tmp_path / "data.npz", "--out", tmp_path / "p.npz"]
    result = CliRunner().invoke(app, [*map(str, learn), "--scale", "minmax"])
    assert result.exit_code == 2
    assert "--scale minmax" in result.output


def test_the_command_line_takes_numbers_and_the_word_auto(tmp_path):
    np.savez(tmp_path / "data.npz", X=rings(0)[0], y=rings(0)[1])
    learn = ["learn", "exact-radius", "--train", tmp_path / "data.npz", "--out", tmp_path / "m.npz", "-q"]
    result = CliRunner().invoke(app, [*map(str, learn), "--max-iter", "2", "--cap", "auto", "--seed", "0"])
    assert result.exit_code == 0, result.output
    assert "2 epochs" in result.output
    wrong = CliRunner().invoke(app, [*map(str, learn), "--max-iter", "few"])
    assert wrong.exit_code != 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_prototypes", 0),
        ("n_prototypes", "many"),
        ("eps", -1.0),
        ("objective", "both"),
        ("metric", "manhattan"),
        ("shifts", (2,)),
        ("shifts", (3, 3)),
        ("max_iter", 1.5),
        ("learning_rate", 0.0),
        ("batch_size", 0),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        RobustPrototypes(**{name: value}).fit(*rings(0))


def test_a_file_has_the_settings_inside(blobs, tmp_path):
    model = RobustPrototypes(2, max_iter=np.int64(2), shifts=(2, 2), random_state=0).fit(*blobs)
    model.save(tmp_path / "points.npz", why=np.float32(0.5), learner="another")
    with np.load(tmp_path / "points.npz") as archive:
        about = json.loads(str(archive["about"]), parse_constant=pytest.fail)
    assert about["learner"] == "RobustPrototypes"
    assert (about["parameters"]["shifts"], about["parameters"]["max_iter"]) == ([2, 2], 2)
    assert (about["settled"]["cap_"], about["settled"]["decay_"]) == (model.cap_, "inf")
    assert about["why"] == 0.5


def test_rows_that_are_all_the_same_leave_no_decay_to_choose():
    rows, labels = np.ones((60, 4)), np.arange(60) % 3
    model = RobustPrototypes(objective="clean", random_state=0).fit(rows, labels)
    assert (model.decay_, model.stop_reason_) == (np.inf, "max_iter")


def test_a_file_whose_parts_do_not_fit_together_is_named(tmp_path):
    np.savez(tmp_path / "points.npz", X=np.eye(3), y=[0, 1, 2], components_=np.eye(4))
    with pytest.raises(DataError, match=r"points\.npz: has points of 3 features, but components of 4"):
        RobustPrototypes.load(tmp_path / "points.npz")
