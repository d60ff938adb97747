"""The classifier: prediction, neighbours, certification."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import certimetric as cm
from certimetric import CertifiedKNeighborsClassifier


@pytest.mark.parametrize("k", [1, 2, 5, 10])
def test_predictions_are_those_of_scikit_learn(digits, k):
    rows, labels, points, _ = digits
    peer = KNeighborsClassifier(k, algorithm="brute").fit(rows, labels)
    ours = CertifiedKNeighborsClassifier(k).fit(rows, labels)
    # Integer-valued features give equal distances, whose order the peer leaves open.
    jitter = 1e-3 * np.random.default_rng(0).normal(size=points.shape)
    np.testing.assert_array_equal(ours.predict(points + jitter), peer.predict(points + jitter))
    np.testing.assert_allclose(ours.predict_proba(points + jitter), peer.predict_proba(points + jitter))


def test_vote_ties_go_to_the_smallest_label():
    model = CertifiedKNeighborsClassifier(2).fit([[0.0], [1.0]], ["b", "a"])
    assert model.predict([[0.1]]) == ["a"]
    np.testing.assert_array_equal(model.predict_proba([[0.1]]), [[0.5, 0.5]])


def test_distance_ties_go_to_the_lowest_row():
    model = CertifiedKNeighborsClassifier().fit([[-1.0], [1.0]], ["z", "a"])
    assert model.predict([[0.0]]) == ["z"]


def test_neighbors_of_the_training_set_leave_the_row_out(rng):
    rows = rng.normal(size=(40, 3))
    model = CertifiedKNeighborsClassifier(3).fit(rows, np.arange(40) % 2)
    distances, indices = model.kneighbors()
    expected = KNeighborsClassifier(3, algorithm="brute").fit(rows, np.arange(40) % 2).kneighbors()
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-7)


def test_neighbors_among_duplicates_are_never_the_row_itself():
    model = CertifiedKNeighborsClassifier(2).fit(np.zeros((6, 2)), np.zeros(6))
    indices = model.kneighbors(return_distance=False)
    np.testing.assert_array_equal(indices, [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]])


def test_radius_of_two_points_is_the_distance_to_their_bisector():
    model = CertifiedKNeighborsClassifier().fit([[0.0, 0.0], [4.0, 0.0]], [0, 1])
    cert = model.certify([[1.0, 7.0], [3.5, 0.0]], [0, 1])
    np.testing.assert_allclose(cert.lower, [1.0, 1.5], rtol=1e-9)
    assert (cert.lower <= [1.0, 1.5]).all()
    assert (cert.upper >= [1.0, 1.5]).all()


def test_radius_is_measured_in_input_space_whatever_the_metric():
    metric = cm.Mahalanobis.from_components([[3.0, 0.0], [0.0, 1.0]])
    model = CertifiedKNeighborsClassifier(metric=metric).fit([[0.0, 0.0], [4.0, 0.0]], [0, 1])
    np.testing.assert_allclose(model.certify([[1.0, 7.0]]).upper, [1.0], rtol=1e-9)


def test_intervals_are_tight_on_real_data(certification):
    right = certification.status == "exact"
    width = (certification.upper[right] - certification.lower[right]) / certification.upper[right]
    assert right.sum() > 50
    assert width.max() <= 1e-9


def test_adversarial_points_change_the_prediction_and_lie_at_upper(classifier, certification, digits):
    _, _, points, labels = digits
    right = certification.status == "exact"
    adversarial = certification.adversarial[right]
    assert (classifier.predict(adversarial) != labels[right]).all()
    norms = np.linalg.norm(adversarial - points[right], axis=1)
    np.testing.assert_allclose(norms, certification.upper[right], rtol=1e-9)


def test_perturbations_below_lower_do_not_change_the_prediction(classifier, certification, digits, rng):
    _, _, points, labels = digits
    right = certification.status == "exact"
    step = certification.adversarial[right] - points[right]
    np.testing.assert_array_equal(classifier.predict(points[right] + 0.999 * step), labels[right])
    other = rng.normal(size=step.shape)
    other *= 0.999 * certification.lower[right, None] / np.linalg.norm(other, axis=1, keepdims=True)
    np.testing.assert_array_equal(classifier.predict(points[right] + other), labels[right])


def test_rival_is_the_training_row_nearest_to_the_adversarial_point(classifier, certification):
    right = certification.status == "exact"
    nearest = classifier.kneighbors(certification.adversarial[right], 1, return_distance=False)
    np.testing.assert_array_equal(nearest[:, 0], certification.rival[right])


def test_misclassified_points_have_radius_zero(classifier, digits):
    _, _, points, labels = digits
    cert = classifier.certify(points[:5], (labels[:5] + 1) % 10)
    assert (cert.status == "misclassified").all()
    assert (cert.lower == 0).all()
    assert (cert.upper == 0).all()


def test_without_labels_the_predictions_are_certified(classifier, certification, digits):
    _, _, points, labels = digits
    cert = classifier.certify(points)
    assert cert.y is None
    assert not (cert.status == "misclassified").any()
    right = cert.predicted == labels
    np.testing.assert_array_equal(cert.lower[right], certification.lower[right])


def test_one_class_has_infinite_radius():
    cert = CertifiedKNeighborsClassifier().fit([[0.0], [1.0]], ["a", "a"]).certify([[5.0]])
    assert cert.lower == [np.inf]
    assert cert.upper == [np.inf]
    assert cert.status == ["exact"]


def test_labels_may_be_strings_and_booleans(rng):
    rows = rng.normal(size=(20, 2))
    for labels in (np.where(rows[:, 0] > 0, "right", "left"), rows[:, 0] > 0):
        cert = CertifiedKNeighborsClassifier().fit(rows, labels).certify(rows, labels)
        np.testing.assert_array_equal(cert.predicted, labels)
        assert cert.predicted.dtype == labels.dtype


# Rows 0, 1, 3 of class "a" and 7, 8 of class "b", seen from 1: the walls are halfway between two rows.
@pytest.mark.parametrize(
    ("k", "plurality", "majority"),
    [
        (1, 4.0, 4.0),  # 7 instead of 3
        (2, 4.5, 3.0),  # 8 instead of 3; 7 instead of 1, a tie that only the majority rule counts as lost
        (3, 3.5, 3.5),  # 8 instead of 1
        (4, np.inf, 3.0),  # two of each at worst, and ties go to "a"; 8 instead of 0
        (5, np.inf, np.inf),  # all rows vote, everywhere
    ],
)
def test_radii_on_a_line_are_the_distances_to_the_walls(k, plurality, majority):
    model = CertifiedKNeighborsClassifier(k).fit([[0.0], [1.0], [3.0], [7.0], [8.0]], [*"aaabb"])
    for rule, radius in (("plurality", plurality), ("majority", majority)):
        cert = model.certify([[1.0]], rule=rule)
        assert cert.lower[0] <= radius <= cert.upper[0]
        np.testing.assert_allclose([cert.lower[0], cert.upper[0]], radius, rtol=1e-9)
        assert cert.status == ["exact"]
        if 0 < radius < np.inf:
            assert model.certify([[1.0]], rule=rule, eps=radius - 0.01).lower > radius - 0.01
            assert model.certify([[1.0]], rule=rule, eps=radius + 0.01).upper <= radius + 0.01


def test_a_point_without_a_majority_has_radius_zero_though_it_is_predicted_right():
    model = CertifiedKNeighborsClassifier(3).fit([[0.0], [1.0], [2.0], [50.0]], [*"abca"])
    cert = model.certify([[1.0]], ["a"], rule="majority")
    assert (cert.predicted, cert.lower, cert.upper, cert.status) == (["a"], [0.0], [0.0], ["exact"])
    assert model.certify([[1.0]], ["b"], rule="majority").status == ["misclassified"]


def test_a_question_about_one_radius_costs_less_than_the_radius(digits):
    rows, labels, points, truth = digits
    model = CertifiedKNeighborsClassifier(7).fit(rows, labels)
    radii = model.certify(points, truth)
    asked = model.certify(points, truth, eps=0.25)
    assert asked.certified_error(0.25) == radii.certified_error(0.25) == asked.attack_error(0.25)
    assert asked.nodes.sum() < radii.nodes.sum()
    assert asked.run.eps == 0.25
    assert "proven robust" in asked.summary()


def rows_at_the_walls():
    """Rows on a line, and points whose radii under a vote of three are 3.5, 2.5 and 1.5."""
    model = CertifiedKNeighborsClassifier(3).fit([[0.0], [1.0], [3.0], [7.0], [8.0]], [*"aaabb"])
    return model, [[1.0], [2.0], [3.0]], np.array([3.5, 2.5, 1.5])


def test_a_radius_that_only_geometry_makes_infinite_is_bounded_from_far_away():
    """On a line the five nearest rows are neighbours of each other, and any five such have three "a"."""
    rows = np.arange(13.0)[:, None]
    model = CertifiedKNeighborsClassifier(5).fit(rows, [*"abaababaababa"])
    cert = model.certify([[6.0]])
    assert cert.upper == [np.inf]
    assert cert.lower > 1e3 * np.ptp(rows)
    few = CertifiedKNeighborsClassifier(5).fit(rows, [*"aaaaabaaaaaab"]).certify([[6.0]])
    assert (few.lower, few.upper, few.status) == ([np.inf], [np.inf], ["exact"])


@pytest.mark.parametrize("kind", [list, tuple, np.array])
@pytest.mark.parametrize("radii", [[1.0, 2.0, 3.0], [3.0, 0.0, 1.0, 1.0], [2.0]])
@pytest.mark.parametrize("progress", [False, True])
def test_each_of_some_radii_is_decided(kind, radii, progress):
    model, points, truth = rows_at_the_walls()
    cert = model.certify(points, eps=kind(radii), progress=progress)
    for eps in radii:
        np.testing.assert_array_equal(cert.lower > eps, truth > eps)
        np.testing.assert_array_equal(cert.upper <= eps, truth <= eps)
    assert (cert.lower <= truth).all()
    assert (cert.upper >= truth).all()
    assert cert.run.asked == tuple(sorted(set(radii)))
    assert cert.run.eps == (cert.run.asked if len(set(radii)) > 1 else radii[0])


@pytest.mark.parametrize("with_labels", [False, True])
def test_questions_about_some_radii_agree_with_the_radii(digits, with_labels):
    rows, labels, points, truth = digits
    truth = truth if with_labels else None
    model = CertifiedKNeighborsClassifier(7).fit(rows, labels)
    radii, levels = model.certify(points, truth), [0.0, 0.1, 0.3, 0.5]
    asked = model.certify(points, truth, eps=levels, return_adversarial=True)
    np.testing.assert_array_equal(asked.certified_error(levels), radii.certified_error(levels))
    np.testing.assert_array_equal(asked.attack_error(levels), radii.attack_error(levels))
    np.testing.assert_array_equal(asked.predicted, radii.predicted)
    assert asked.nodes.sum() < radii.nodes.sum()
    broken = np.isfinite(asked.upper) & (asked.upper > 0)
    distances = np.linalg.norm(asked.adversarial - points, axis=1)
    np.testing.assert_allclose(distances[broken], asked.upper[broken], rtol=1e-9)
    assert not distances[~broken].any()
    assert (model.predict(asked.adversarial[broken]) != asked.predicted[broken]).all()


def test_points_that_are_decided_are_not_asked_about_again(digits):
    rows, labels, points, truth = digits
    model = CertifiedKNeighborsClassifier(5).fit(rows, labels)
    heard = []
    model.certify(points, truth, eps=[0.1, 0.4], callback=lambda *news: heard.append(news))
    first = model.certify(points, truth, eps=0.4)
    open_points = np.count_nonzero((first.lower <= 0.1) & (first.upper > 0.1))
    assert 0 < open_points < len(points)
    assert dict.fromkeys(total for _, total in heard) == {len(points): None, open_points: None}


def test_a_limit_on_nodes_leaves_valid_intervals_at_each_radius(votes):
    model, points = votes
    radii, asked = model.certify(points), model.certify(points, eps=[0.1, 0.2, 0.3], point_node_limit=1)
    assert (asked.lower <= radii.upper).all()
    assert (asked.upper >= radii.lower).all()
    assert ((asked.lower <= 0.3) & (asked.upper > 0.3)).any()


def test_a_time_limit_is_one_for_all_radii(votes):
    model, points = votes
    radii, asked = model.certify(points), model.certify(points, eps=[0.1, 0.2, 0.3], time_limit=1e-6)
    assert "unfinished" in asked.status
    assert (asked.lower <= radii.upper).all()
    assert (asked.upper >= radii.lower).all()


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize("n_jobs", [1, 3])
@pytest.mark.parametrize("eps", [None, [0.1, 0.2, 0.3]])
def test_a_node_limit_is_one_for_all_points_and_radii(votes, eps, n_jobs, progress):
    model, points = votes
    ask = partial(model.certify, points, eps=eps, n_jobs=n_jobs, progress=progress)
    whole, part = ask(), ask(node_limit=60)
    assert whole.nodes.sum() > 60
    assert part.nodes.sum() == 60
    unfinished = part.status == "unfinished"
    assert 0 < unfinished.sum() < len(points)
    done = ~unfinished & (part.nodes == whole.nodes)
    np.testing.assert_array_equal(part.lower[done], whole.lower[done])
    assert (part.lower <= whole.upper).all()
    assert (part.upper >= whole.lower).all()
    # What needs no search is there all the same.
    assert part.lower[unfinished & (ask(point_node_limit=0).lower > 0)].all()
    assert np.isfinite(part.upper).all()


@pytest.mark.parametrize("nodes", [0, 2])
def test_a_point_at_its_own_limit_on_nodes_is_bounded_whatever_the_call_has_left(votes, nodes):
    model, points = votes
    alone = model.certify(points, point_node_limit=nodes)
    both = model.certify(points, point_node_limit=nodes, node_limit=int(alone.nodes.sum()))
    np.testing.assert_array_equal(both.status, alone.status)
    assert "bounded" in both.status


@pytest.mark.parametrize("eps", [0.3, [0.1, 0.3]])
@pytest.mark.parametrize(("k", "method"), [(1, "exact"), (5, "bound"), (5, "attack")])
def test_radii_change_nothing_where_no_search_could_end_at_them(digits, k, method, eps):
    rows, labels, points, truth = digits
    model = CertifiedKNeighborsClassifier(k).fit(rows, labels)
    plain, asked = (model.certify(points, truth, method=method, eps=e).to_dict() for e in (None, eps))
    for name in plain.keys() - {"seconds"}:
        np.testing.assert_array_equal(asked[name], plain[name])


def test_threads_and_batches_do_not_change_a_bit(classifier, certification, digits):
    _, _, points, labels = digits
    threads = classifier.certify(points, labels, n_jobs=2)
    np.testing.assert_array_equal(threads.lower, certification.lower)
    np.testing.assert_array_equal(threads.upper, certification.upper)
    single = [classifier.certify(points[i : i + 1], labels[i : i + 1]) for i in range(10)]
    np.testing.assert_array_equal([one.lower[0] for one in single], certification.lower[:10])


def test_a_time_limit_leaves_valid_intervals_of_votes(digits):
    rows, labels, points, truth = digits
    model = CertifiedKNeighborsClassifier(3).fit(rows, labels)
    many, names = np.repeat(points, 50, axis=0), np.repeat(truth, 50)
    cert = model.certify(many, names, rule="majority", time_limit=1e-6)
    radii = model.certify(points, truth, rule="majority")
    assert (cert.status == "unfinished").any()
    assert (cert.lower <= np.repeat(radii.upper, 50)).all()
    assert (cert.upper >= np.repeat(radii.lower, 50)).all()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_give_the_same_answers(classifier, certification, digits, duplicate):
    _, _, points, labels = digits
    other = duplicate(classifier)
    np.testing.assert_array_equal(other.certify(points, labels).lower, certification.lower)


def test_training_rows_are_not_copied_nor_changed(rng):
    rows = rng.normal(size=(30, 4))
    before = rows.copy()
    model = CertifiedKNeighborsClassifier().fit(rows, np.arange(30) % 3)
    model.certify(rows)
    np.testing.assert_array_equal(rows, before)
    assert np.shares_memory(model._index.rows, rows)


def test_callback_hears_of_all_points_and_may_stop_the_work(classifier, digits):
    _, _, points, _ = digits
    heard = []
    classifier.certify(points, callback=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (len(points), len(points))
    assert heard == sorted(heard)

    def stop(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        classifier.certify(points, callback=stop)


def test_progress_is_one_line_on_standard_error(classifier, digits, capsys, monkeypatch):
    _, _, points, _ = digits
    classifier.certify(points, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "60/60" in captured.err
    # Without rich the plain line says the same.
    monkeypatch.setitem(__import__("sys").modules, "rich.progress", None)
    classifier.certify(points, progress=True)
    assert "certify: 60/60" in capsys.readouterr().err


@pytest.fixture
def votes(rng):
    """A small set whose radii under a vote of five need a search, and points of it."""
    rows, labels = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    return CertifiedKNeighborsClassifier(5).fit(rows, labels), rng.normal(size=(90, 3))


def test_progress_of_a_search_tells_the_share_that_is_proven(votes, capsys, monkeypatch):
    model, points = votes
    model.certify(points, progress=True)
    assert "90/90 100.0% proven" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "rich.progress", None)
    cert = model.certify(points, point_node_limit=3, progress=True)
    assert 0 < cert.share_exact < 1
    assert f"certify: 90/90, {cert.share_exact:.1%} proven" in capsys.readouterr().err
    decided = model.certify(points, eps=0.1, progress=True)
    assert ((decided.lower > 0.1) | (decided.upper <= 0.1)).all()
    assert "certify: 90/90, 100.0% proven" in capsys.readouterr().err
    model.certify(points, method="bound", progress=True)
    assert "proven" not in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"eps": 0.1}, {"point_node_limit": 2, "return_adversarial": True}])
def test_progress_does_not_change_the_answer(votes, monkeypatch, options):
    monkeypatch.setattr("certimetric._batches.FIRST", 7)
    model, points = votes
    labels = np.arange(len(points)) % 4
    shown, silent = (model.certify(points, labels, progress=p, **options).to_dict() for p in (True, False))
    assert shown.keys() == silent.keys()
    for name in shown.keys() - {"seconds"}:
        np.testing.assert_array_equal(shown[name], silent[name])


def test_callback_hears_of_all_points_beside_the_share(votes, monkeypatch):
    monkeypatch.setattr("certimetric._batches.FIRST", 7)
    model, points = votes
    heard = []
    model.certify(points, progress=True, callback=lambda done, total: heard.append((done, total)))
    assert heard == sorted(heard)
    assert heard[-1] == (90, 90)
    assert {total for _, total in heard} == {90}


def test_time_limit_is_one_for_all_batches(votes, monkeypatch):
    monkeypatch.setattr("certimetric._batches.FIRST", 7)
    model, points = votes
    cert = model.certify(points, time_limit=1e-6, progress=True)
    assert len(cert) == 90
    assert set(cert.status) <= {"unfinished", "exact"}
    assert cert.status[-1] == "unfinished"


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("method", ["exact", "bound", "attack"])
@pytest.mark.parametrize("options", [{}, {"eps": 0.2}, {"progress": True}, {"return_adversarial": True}])
def test_without_any_time_all_points_are_unfinished(digits, k, method, options):
    rows, labels, points, truth = digits
    model = CertifiedKNeighborsClassifier(k).fit(rows, labels)
    for names in (None, truth):
        cert = model.certify(points, names, method=method, time_limit=0, **options)
        assert set(cert.status) == {"unfinished"}
        assert not cert.lower.any()
        assert np.isinf(cert.upper).all()
        assert cert.predicted.tolist() == [None] * len(points)


def test_time_limit_leaves_valid_intervals(classifier, certification, digits):
    _, _, points, labels = digits
    cert = classifier.certify(np.repeat(points, 50, axis=0), np.repeat(labels, 50), time_limit=1e-6)
    exact = np.repeat(certification.upper, 50)
    assert (cert.status == "unfinished").any()
    assert (cert.lower <= exact * (1 + 1e-9)).all()
    assert (cert.upper >= exact * (1 - 1e-9)).all()
    missing = np.array([label is None for label in cert.predicted])
    assert missing.any()
    np.testing.assert_array_equal(cert.predicted[~missing], np.repeat(labels, 50)[~missing])


@pytest.fixture(scope="module")
def overlapping():
    """Three classes that overlap, and points between them whose search branches."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    return rng.normal(size=(90, 3)) + np.eye(3)[labels], labels, rng.normal(size=(30, 3))


@pytest.mark.parametrize("rule", ["plurality", "majority"])
@pytest.mark.parametrize("k", [3, 4, 7, 8])
def test_radii_are_the_same_without_memory_for_open_nodes(overlapping, k, rule):
    rows, labels, points = overlapping
    model = CertifiedKNeighborsClassifier(k).fit(rows, labels)
    usual, thrifty = model.certify(points, rule=rule), model.certify(points, rule=rule, max_memory=0)
    assert usual.nodes.sum() > 30
    assert thrifty.status.tolist() == usual.status.tolist()
    np.testing.assert_allclose(thrifty.lower, usual.lower, rtol=1e-12)
    np.testing.assert_allclose(thrifty.upper, usual.upper, rtol=1e-12)


@pytest.mark.parametrize("memory", [0, 3_000])
def test_little_memory_changes_the_order_of_the_search(overlapping, memory):
    rows, labels, points = overlapping
    model = CertifiedKNeighborsClassifier(7).fit(rows, labels)
    usual, thrifty = model.certify(points), model.certify(points, max_memory=memory)
    assert usual.nodes.tolist() != thrifty.nodes.tolist()
    assert usual.nodes.tolist() == model.certify(points, max_memory=2**24).nodes.tolist()


def test_interval_of_a_limited_search_without_memory_contains_the_radius(overlapping):
    rows, labels, points = overlapping
    model = CertifiedKNeighborsClassifier(8).fit(rows, labels)
    usual, thrifty = model.certify(points), model.certify(points, point_node_limit=5, max_memory=0)
    assert "bounded" in thrifty.status
    assert (thrifty.lower <= usual.upper).all()
    assert (thrifty.upper >= usual.lower).all()
