"""NCA learns what scikit-learn's does, in bounded memory, and ends when it is told to."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NeighborhoodComponentsAnalysis

from certimetric import _native
from certimetric.exceptions import DataError, InputError, InputTypeError
from certimetric.learning import NCA


@pytest.mark.parametrize("init", ["auto", "pca", "lda", "identity", "random"])
def test_it_learns_what_scikit_learn_does(blobs, init):
    rows, labels = blobs
    ours = NCA(2, init=init, max_iter=7, random_state=0).fit(rows, labels)
    theirs = NeighborhoodComponentsAnalysis(2, init=init, max_iter=7, random_state=0)
    theirs.fit(rows - rows.mean(axis=0), labels)
    np.testing.assert_allclose(ours.components_, theirs.components_, rtol=1e-6, atol=1e-8)
    assert ours.n_iter_ == 7


def test_it_tells_the_mean_chance_of_another_class(blobs):
    rows, labels = blobs
    learner = NCA(max_iter=5, random_state=0).fit(rows, labels)
    images = learner.transform(rows)
    squares = ((images[:, None] - images) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    chances = np.exp(squares.min(axis=1, keepdims=True) - squares)
    chances /= chances.sum(axis=1, keepdims=True)
    other = (chances * (labels[:, None] != labels)).sum(axis=1).mean()
    losses = learner.history_["loss"]
    assert losses[-1] == pytest.approx(other, abs=1e-10)
    assert len(losses) == 5
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("size", [0.3, 3.0, 40.0])
@pytest.mark.torch
def test_the_gradient_is_that_of_autograd(rng, size):
    torch = pytest.importorskip("torch", reason="needs PyTorch: the extra torch")
    rows, codes = rng.uniform(-1, 1, (300, 5)), rng.integers(0, 3, 300)
    components = size * rng.normal(size=(3, 5))
    G = torch.tensor(components, requires_grad=True)
    images = torch.tensor(rows) @ G.T
    squares = ((images[:, None] - images) ** 2).sum(dim=2) + torch.diag(torch.full((300,), torch.inf))
    is_own = torch.tensor(codes[:, None] == codes)
    expected = (torch.softmax(-squares, dim=1) * is_own).sum()
    expected.backward()
    found, gradient = _native.neighbor_chances(rows, codes, components)
    assert found == pytest.approx(float(expected.detach()), abs=1e-8)
    np.testing.assert_allclose(gradient, G.grad.numpy(), rtol=1e-7, atol=1e-8)


def test_rotations_and_shifts_of_the_data_change_nothing(blobs, rng):
    rows, labels = blobs
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    plain, turned = (
        NCA(max_iter=5).fit(X, labels).get_mahalanobis_matrix() for X in (rows, 100 + rows @ Q.T)
    )
    np.testing.assert_allclose(Q @ plain @ Q.T, turned, rtol=1e-6, atol=1e-6)


def test_threads_change_no_bit(blobs):
    one, two = (NCA(max_iter=4, n_jobs=jobs).fit(*blobs).components_ for jobs in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_it_refuses_rows_by_its_own_messages():
    with pytest.raises(InputError, match="NCA needs two or more"):
        NCA().fit(np.eye(3), [1, 1, 1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 5}, "n_components must be at most n_features = 4"),
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"n_components": 3, "init": "lda"}, "init='lda' has 2 components here, but n_components is 3"),
        ({"init": "foo"}, "init must be 'auto', .* got 'foo'"),
        ({"init": np.eye(3)}, "init has 3 features"),
        ({"init": np.ones((5, 4))}, "init has 5 rows"),
        ({"init": np.eye(4), "n_components": 2}, "init has 4 rows"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"tol": -1}, "tol must be at least 0"),
        ({"tol": np.inf}, "tol must be finite"),
        ({"time_limit": 0}, "time_limit must be positive"),
        ({"callback": 3}, "callback must be callable or None, got 3"),
        ({"n_jobs": 0}, "n_jobs must not be 0"),
    ],
)
def test_it_refuses_parameters_by_its_own_messages(blobs, parameters, message):
    with pytest.raises((InputError, InputTypeError), match=message):
        NCA(**parameters).fit(*blobs)


@pytest.mark.parametrize("init", ["auto", "pca", "lda", "identity", "random", np.eye(2, 4).tolist()])
def test_it_takes_every_start(blobs, init):
    assert NCA(2, init=init, max_iter=2, random_state=0).fit(*blobs).components_.shape == (2, 4)


def test_it_has_as_many_components_as_it_is_asked_for(blobs):
    rows, _ = blobs
    five = np.arange(len(rows)) % 5
    for last in (np.ones(len(rows)), rows[:, 1]):
        learner = NCA(3, max_iter=2, random_state=0).fit(np.column_stack([rows[:, :2], last]), five)
        assert learner.components_.shape == (3, 3)
    with pytest.raises(InputError, match="init='lda' has 2 components here, but n_components is 3"):
        NCA(3, init="lda").fit(np.column_stack([rows[:, :2], np.ones(len(rows))]), five)


def test_data_out_of_proportion_is_told(rng):
    rows, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    with pytest.warns(ConvergenceWarning, match=r"NCA has converged in its first iteration: .* Scale X"):
        learner = NCA(max_iter=20, random_state=0).fit(1e6 * rows, labels)
    assert learner.stop_reason_ == "converged"


def test_a_callback_is_told_and_may_stop(blobs):
    told = []

    def callback(progress):
        told.append(progress)
        return progress.epoch == 4

    learner = NCA(max_iter=20, random_state=0, callback=callback).fit(*blobs)
    assert (learner.stop_reason_, learner.n_iter_) == ("callback", 4)
    assert [(progress.epoch, progress.max_iter) for progress in told] == [(n, 20) for n in (1, 2, 3, 4)]
    np.testing.assert_array_equal(told[-1].values["components"], learner.components_)
    whole = NCA(max_iter=4, random_state=0).fit(*blobs)
    assert whole.stop_reason_ == "max_iter"
    np.testing.assert_array_equal(learner.components_, whole.components_)
    assert NCA(random_state=0, tol=1.0).fit(*blobs).stop_reason_ == "converged"


@pytest.mark.parametrize("raised", [StopIteration, RuntimeError])
def test_what_a_callback_raises_is_no_end_of_the_fit(blobs, raised):
    def callback(progress):
        raise raised("callback raised")

    with pytest.raises(raised, match="callback raised"):
        NCA(max_iter=3, random_state=0, callback=callback).fit(*blobs)


def test_a_time_limit_ends_the_fit(blobs):
    learner = NCA(max_iter=50, random_state=0, time_limit=1e-6).fit(*blobs)
    assert (learner.stop_reason_, learner.n_iter_) == ("time_limit", 0)


@pytest.mark.parametrize("init", ["random", "identity"])
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(blobs, tmp_path, init):
    def parts(most, **options):
        return NCA(2, init=init, max_iter=most, random_state=3, **options).fit(*blobs)

    path = tmp_path / "fit.npz"
    whole = parts(25)
    for most in (4, 5, 17, 25):
        learner = parts(most, checkpoint=path)
        assert learner.n_iter_ == min(most, whole.n_iter_)
    np.testing.assert_array_equal(learner.components_, whole.components_)
    np.testing.assert_array_equal(learner.history_["loss"], whole.history_["loss"])
    with pytest.raises(DataError, match="is a checkpoint of a fit with other data or other parameters"):
        NCA(2, init="pca", random_state=3, checkpoint=path).fit(*blobs)


def test_a_warm_start_goes_on(blobs):
    learner = NCA(2, max_iter=4, random_state=0, warm_start=True).fit(*blobs)
    learner.set_params(max_iter=9).fit(*blobs)
    np.testing.assert_array_equal(
        learner.components_, NCA(2, max_iter=9, random_state=0).fit(*blobs).components_
    )


def test_interrupts_leave_what_was_learned(blobs):
    def interrupt(progress):
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner = NCA(max_iter=20, random_state=0, callback=interrupt).fit(*blobs)
    assert [(str(w.message), w.category) for w in caught] == [
        (
            "NCA was interrupted in epoch 4: what was learned by the end of epoch 3 is kept.",
            ConvergenceWarning,
        )
    ]
    assert (learner.stop_reason_, learner.n_iter_) == ("interrupted", 3)
    np.testing.assert_array_equal(
        learner.components_, NCA(max_iter=3, random_state=0).fit(*blobs).components_
    )


def test_an_interrupt_before_anything_is_learned_leaves_the_start(blobs, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_native, "neighbor_chances", interrupt)
    with pytest.warns(ConvergenceWarning, match="NCA was interrupted in epoch 1: what it began with is kept"):
        learner = NCA(init="identity").fit(*blobs)
    np.testing.assert_array_equal(learner.components_, np.eye(4))


def test_an_objective_that_is_not_finite_ends_the_fit(blobs, monkeypatch):
    native, values = _native.neighbor_chances, []

    def damaged(*arguments):
        values.append(arguments)
        sum_, gradient = native(*arguments)
        return sum_, gradient * (np.nan if len(values) > 3 else 1)

    monkeypatch.setattr(_native, "neighbor_chances", damaged)
    with pytest.warns(ConvergenceWarning, match=r"NCA has a loss of nan in epoch \d and stops"):
        learner = NCA(init="identity").fit(*blobs)
    assert learner.stop_reason_ == "loss not finite"
    assert np.isfinite(learner.components_).all()


def test_progress_is_a_line_on_standard_error(blobs, capsys):
    NCA(max_iter=6, random_state=0, progress=True).fit(*blobs)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "NCA" in streams.err
    assert "6/6" in streams.err
