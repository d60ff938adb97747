"""The result object: shares, tables, files, pictures."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

import certimetric as cm
from certimetric import Certification
from certimetric.certification import RunInfo
from certimetric.display import CertifiedErrorDisplay
from certimetric.exceptions import DataError, InputError, MissingDependencyError

COLUMNS = {"lower", "upper", "status", "predicted", "y", "rival", "seconds", "programs", "steps", "nodes"}
RUN = RunInfo(2, 1, "exact", "plurality", None, 10, 3, "Euclidean", 0.5, {"numpy": "2"})


@pytest.fixture(autouse=True)
def _close_figures():
    """Figures that tests draw do not pile up."""
    yield
    plt.close("all")


def make(lower, upper, status=None, **fields):
    count = len(lower)
    values = {
        "lower": np.array(lower, dtype=float),
        "upper": np.array(upper, dtype=float),
        "status": np.array(status or ["exact"] * count),
        "predicted": np.arange(count),
        "y": None,
        "rival": np.arange(count),
        "adversarial": None,
        "seconds": np.full(count, 0.1),
        "programs": np.arange(count),
        "steps": np.arange(count),
        "nodes": np.arange(count),
        "run": RUN,
    }
    return Certification(**(values | fields))


@pytest.fixture
def mixed():
    """One point of each status, and one of infinite radius."""
    status = ["exact", "bounded", "misclassified", "unfinished", "exact"]
    labels = np.array([3, 1, 2, None, 0], dtype=object)
    lower, upper = [1.0, 1.0, 0.0, 0.0, np.inf], [1.0, 2.0, 0.0, np.inf, np.inf]
    points = np.array([[0.1, -0.0, 5e-324]] * 5)
    return make(lower, upper, status, predicted=labels, y=np.array([3, 1, 0, 4, 0]), adversarial=points)


def test_certified_error_counts_points_not_proven_beyond_the_radius(mixed):
    np.testing.assert_array_equal(
        mixed.certified_error([0, 0.5, 1.0, 1.5, np.inf]), [0.4, 0.4, 0.8, 0.8, 1.0]
    )
    np.testing.assert_array_equal(mixed.attack_error([0, 0.5, 1.0, 1.5, 2.0]), [0.2, 0.2, 0.4, 0.4, 0.6])


def test_shares_of_one_radius_are_numbers(mixed):
    assert mixed.certified_error(1.0) == 0.8
    assert isinstance(mixed.certified_error(1.0), float)
    assert mixed.certified_accuracy(1.0) == pytest.approx(0.2)


@pytest.mark.parametrize("radii", [-1.0, [0.0, np.nan], [[1.0]]])
def test_radii_that_are_none_are_refused(mixed, radii):
    with pytest.raises(InputError, match="radii must be"):
        mixed.certified_error(radii)


def test_median_is_aware_of_infinity():
    assert make([1.0, 3.0], [1.0, 3.0]).median == 2.0
    assert make([1.0, np.inf], [1.0, np.inf]).median == np.inf
    assert make([np.inf] * 4, [np.inf] * 4).median == np.inf
    assert make([1.0, 2.0, np.inf], [1.0, 3.0, np.inf]).median == 2.5


def test_share_exact_counts_what_is_known(mixed):
    assert mixed.share_exact == pytest.approx(0.6)


def test_summary_and_repr_name_every_status(mixed):
    for text in (mixed.summary(), repr(mixed)):
        for status in ("exact", "bounded", "misclassified", "unfinished"):
            assert status in text
    assert "125 ms a point" in mixed.summary()
    assert "Euclidean" in mixed.summary()


VOTES = replace(RUN, n_neighbors=11, rule="majority")


def test_summary_of_several_neighbors_tells_of_the_search(mixed):
    text = replace(mixed, run=VOTES).summary()
    assert "11-nearest neighbours, majority rule" in text
    assert "method exact, 60.0% of the radii proven, 2 nodes a point at the mean" in text
    assert "nodes" not in mixed.summary()


def test_summary_says_nothing_of_the_radii_of_points_that_were_not_reached(mixed):
    done = mixed.status != "unfinished"
    assert not done.all()
    radii = [line for line in mixed[done].summary().splitlines() if line.startswith("  radius")]
    assert radii == [line for line in mixed.summary().splitlines() if line.startswith("  radius")]
    assert "radius         unknown: no point was reached" in mixed[~done].summary()


def test_summary_tells_of_points_that_a_limit_on_nodes_cut_short(mixed):
    status = np.where(mixed.status == "bounded", "unfinished", mixed.status)
    cut = replace(mixed, status=status, run=VOTES)
    for line in ("  clean error    0.2500", "  radius         median 1.25"):
        assert line in cut.summary()


def test_summary_says_what_is_an_error(mixed):
    assert "(misclassified or tied)" in mixed.summary()
    by_majority = replace(mixed, run=replace(VOTES, rule="majority"))
    assert "(misclassified, or without a majority)" in by_majority.summary()


def test_summary_of_one_radius_tells_its_shares_instead_of_radii(mixed):
    text = replace(mixed, run=replace(VOTES, eps=1.0)).summary()
    assert "radius 1       20.0% proven robust, 40.0% broken, 40.0% open (l2 norm)" in text
    assert "median" not in text
    assert "of the radii proven" not in text
    both = replace(mixed, run=replace(VOTES, eps=(1.0, 1.5))).summary()
    assert "radius 1       20.0% proven robust, 40.0% broken, 40.0% open (l2 norm)" in both
    assert "radius 1.5     20.0% proven robust, 40.0% broken, 40.0% open (l2 norm)" in both
    decided = make([0.0, 0.4] * 10, [0.3, np.inf] * 10, run=replace(VOTES, eps=0.3))[:19]
    assert "47.4% proven robust, 52.6% broken, 0.0% open" in decided.summary()


@pytest.mark.parametrize(
    ("method", "lower", "upper", "expected"),
    [
        ("bound", [1.0, 2.0, 3.0], [np.inf] * 3, "at least: median 2, quartiles 1.5 and 2.5"),
        ("attack", [0.0] * 3, [1.0, 2.0, 3.0], "at most: median 2, quartiles 1.5 and 2.5"),
    ],
)
def test_summary_of_one_end_tells_that_end(method, lower, upper, expected):
    cert = make(lower, upper, ["bounded"] * 3, run=replace(VOTES, method=method))
    assert expected in cert.summary()
    asked = replace(cert, run=replace(cert.run, eps=2.5)).summary()
    assert expected in asked
    assert "radius 2.5 " in asked
    assert "widest" not in cert.summary()
    assert "median" not in repr(cert)


@pytest.mark.parametrize("rows", [slice(1, 3), [4, 0], np.array([True, False, True, False, False]), -1])
def test_parts_keep_rows_together(mixed, rows):
    part = mixed[rows]
    chosen = np.atleast_1d(np.arange(5)[rows])
    assert len(part) == len(chosen)
    for name, array in part.to_dict().items():
        np.testing.assert_array_equal(array, mixed.to_dict()[name][chosen])


def test_results_cannot_be_changed(mixed):
    with pytest.raises(AttributeError):
        mixed.lower = None
    with pytest.raises(ValueError, match="read-only"):
        mixed.lower[0] = 5.0


def test_rows_must_fit_together():
    with pytest.raises(InputError, match="rival has 1 rows, but lower has 2"):
        make([1.0, 2.0], [1.0, 2.0], rival=np.array([0]))


def assert_same(left, right):
    assert right.run == left.run
    assert right.to_dict().keys() == left.to_dict().keys()
    for name, array in left.to_dict().items():
        other = right.to_dict()[name]
        assert other.dtype == array.dtype, name
        if array.dtype.kind == "f":
            array, other = array.view(np.int64), other.view(np.int64)
        np.testing.assert_array_equal(other, array)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_files_keep_every_bit(mixed, certification, tmp_path, suffix):
    asked = make([1.0], [np.inf], run=replace(VOTES, eps=0.1), nodes=np.array([2**40]))
    for number, cert in enumerate((mixed, certification, mixed[:0], make([1.0], [1.0]), asked)):
        path = tmp_path / f"{number}.{suffix}"
        cert.save(path)
        assert_same(cert, cm.load_certification(path))


@pytest.mark.parametrize("eps", [None, 0.1, (0.0, 0.1, 1 / 3)])
@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_files_keep_the_radii_that_were_asked_about(tmp_path, eps, suffix):
    cert = make([1.0], [np.inf], run=replace(VOTES, eps=eps))
    cert.save(tmp_path / f"run.{suffix}")
    assert Certification.load(tmp_path / f"run.{suffix}").run.eps == eps
    cert.save(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())["run"]
    assert RunInfo.from_dict(content) == cert.run


@pytest.mark.parametrize(("eps", "asked"), [(None, ()), (0.1, (0.1,)), ((0.0, 0.2), (0.0, 0.2))])
def test_a_run_tells_its_radii_in_one_way(eps, asked):
    run = replace(VOTES, eps=eps)
    assert run.asked == asked
    assert run.ends_at_eps == bool(asked)
    assert not replace(run, n_neighbors=1).ends_at_eps
    assert not replace(run, method="bound").ends_at_eps


@pytest.mark.parametrize("labels", [["a", "bcd"], [True, False], [1.5, -2.0]])
@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_files_keep_the_type_of_labels(tmp_path, labels, suffix):
    cert = make([1.0, 2.0], [1.0, 2.0], predicted=np.array(labels), y=np.array(labels))
    cert.save(tmp_path / f"run.{suffix}")
    assert_same(cert, Certification.load(tmp_path / f"run.{suffix}"))


def test_npz_is_read_and_written_without_other_libraries_and_without_pickles(mixed, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    mixed.save(tmp_path / "run.npz")
    assert_same(mixed, Certification.load(tmp_path / "run.npz"))
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind != "O" for name in archive.files)


def test_pickled_results_are_the_same(mixed):
    assert_same(mixed, pickle.loads(pickle.dumps(mixed)))


def test_json_and_csv_hold_the_points(mixed, tmp_path):
    mixed.save(tmp_path / "run.json")
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["points"]["upper"] == [1.0, 2.0, 0.0, "inf", "inf"]
    assert content["run"]["metric"] == "Euclidean"
    mixed.save(tmp_path / "run.csv")
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert set(lines[0].split(",")) == COLUMNS
    assert len(lines) == 6


def test_unknown_suffix_is_refused(mixed, tmp_path):
    with pytest.raises(InputError, match=r"path must end in \.parquet, \.npz, .* got 'run\.pkl'"):
        mixed.save(tmp_path / "run.pkl")


def test_foreign_files_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "run.parquet"
    with pytest.raises(DataError, match="no such file"):
        Certification.load(path)
    path.write_text("hello")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        Certification.load(path)
    pq.write_table(pa.table({"a": [1]}), path)
    np.savez(tmp_path / "run.npz", a=[1])
    for foreign in (path, tmp_path / "run.npz"):
        with pytest.raises(DataError, match=r"not written by Certification\.save"):
            Certification.load(foreign)
    (tmp_path / "run.npz").write_bytes(b"PK hello")
    with pytest.raises(DataError, match="cannot be read as npz"):
        Certification.load(tmp_path / "run.npz")


def test_tables_have_one_row_a_point(mixed):
    for table in (mixed.to_pandas(), mixed.to_polars()):
        assert set(table.columns) == COLUMNS
        assert len(table) == 5
        assert list(table["lower"]) == [1.0, 1.0, 0.0, 0.0, np.inf]
        assert list(table["status"])[3] == "unfinished"
    assert mixed.to_arrow().num_rows == 5


@pytest.mark.parametrize(
    ("module", "method", "extra"),
    [("pandas", "to_pandas", "io"), ("polars", "to_polars", "io"), ("pyarrow", "to_arrow", "io"),
     ("matplotlib.pyplot", "plot", "plot")],
)  # fmt: skip
def test_missing_libraries_name_their_extra(mixed, monkeypatch, module, method, extra):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'certimetric\[{extra}\]'"):
        getattr(mixed, method)()


def test_plot_draws_the_certified_error(mixed):
    display = mixed.plot()
    x, y = display.line_.get_data()
    np.testing.assert_array_equal(y, mixed.certified_error(x))
    assert x[0] == 0
    assert "norm" in display.ax_.get_xlabel()
    (band,) = display.ax_.collections
    assert "down to the attack error" in band.get_label()
    assert display.figure_ is display.ax_.figure


def test_band_of_bounded_points_reaches_from_the_attack_error_to_the_certified_error():
    """Intervals [1, 2] and [1, 3]: the certified error is 1 from 1 on, the attack error 1/2 from 2 on."""
    display = make([1.0, 1.0], [2.0, 3.0], ["bounded"] * 2).plot()
    (band,) = display.ax_.collections
    corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}
    assert {(1.0, 0.0), (1.0, 1.0), (2.0, 0.0), (2.0, 0.5), (3.0, 0.5), (3.0, 1.0)} <= corners
    assert (3.0, 0.0) not in corners


def test_plot_of_a_vote_has_a_band_between_the_certified_and_the_attack_error(rng):
    model = cm.CertifiedKNeighborsClassifier(7).fit(rng.normal(size=(200, 3)), rng.integers(0, 2, 200))
    cert = model.certify(rng.normal(size=(40, 3)), point_node_limit=2)
    assert 0 < cert.share_exact < 1
    display = cert.plot()
    (band,) = display.ax_.collections
    radii = display.radii
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    for radius in radii[1:-1]:
        ends = corners[corners[:, 0] == radius, 1]
        assert cert.certified_error(radius) in ends
        assert cert.attack_error(radius) in ends
    assert len(model.certify(rng.normal(size=(40, 3))).plot().ax_.collections) == 0


def corners_of(band):
    return {tuple(corner) for path in band.get_paths() for corner in path.vertices.tolist()}


@pytest.fixture
def asked():
    """What is known of four points after questions about 1 and 2: broken, between, robust, misclassified."""
    lower, upper = [0.0, 1.1, 2.1, 0.0], [0.8, 1.9, np.inf, 0.0]
    return make(lower, upper, ["bounded"] * 3 + ["misclassified"], run=replace(VOTES, eps=(1.0, 2.0)))


def test_plot_of_some_radii_ends_at_the_largest_and_has_a_mark_at_each(asked):
    display = asked.plot()
    x, y = display.line_.get_data()
    assert x.tolist() == [0.0, 1.0, 2.0]
    assert x[display.line_.get_markevery()].tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(y, asked.certified_error(x))
    single = replace(asked, run=replace(VOTES, eps=1.0)).plot()
    assert single.radii.tolist() == [0.0, 1.0]
    with_zero = replace(asked, run=replace(VOTES, eps=(0.0, 1.0))).plot()
    assert with_zero.line_.get_markevery() == [0, 1]


def test_nothing_is_claimed_between_the_radii_that_were_asked_about(asked):
    """Up to 1 a quarter to a half of the points is broken, up to 2 from there to three quarters."""
    display = asked.plot()
    assert display.line_.get_drawstyle() == "steps-pre"
    (band,) = display.ax_.collections
    assert {(0.0, 0.25), (0.0, 0.5), (1.0, 0.25), (1.0, 0.5), (1.0, 0.75), (2.0, 0.5), (2.0, 0.75)} <= (
        corners_of(band)
    )
    assert "robust error is in here" in band.get_label()


def test_band_of_a_vote_at_some_radii_contains_the_robust_error(votes_cert):
    model, points, exact = votes_cert
    display = model.certify(points, eps=[0.1, 0.2, 0.4], point_node_limit=0).plot()
    ceiling = display._ceiling()
    for i, radius in enumerate(display.radii[:-1]):
        for between in np.linspace(radius, display.radii[i + 1], 5)[:-1]:
            assert display.attack_error[i] <= exact.attack_error(between)
            assert between == radius or exact.certified_error(between) <= ceiling[i]


@pytest.fixture
def votes_cert(rng):
    model = cm.CertifiedKNeighborsClassifier(7).fit(rng.normal(size=(200, 3)), rng.integers(0, 2, 200))
    points = rng.normal(size=(40, 3))
    return model, points, model.certify(points)


@pytest.mark.parametrize(
    ("method", "label", "end"),
    [("bound", "certified error (bound)", "lower"), ("attack", "error under attack", "upper")],
)
def test_plot_of_one_end_draws_that_end_only(votes_cert, method, label, end):
    model, points, _ = votes_cert
    for eps in (None, 0.2):
        cert = model.certify(points, method=method, eps=eps)
        display = cert.plot()
        x, y = display.line_.get_data()
        assert len(display.ax_.collections) == 0
        assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == [label]
        ends = getattr(cert, end)
        np.testing.assert_array_equal(y, cert.certified_error(x) if end == "lower" else cert.attack_error(x))
        assert x[-1] > ends[np.isfinite(ends)].max()
        named = CertifiedErrorDisplay.from_certification(cert, name="K = 7")
        assert named.line_.get_label() == f"K = 7: {label}"


def test_curves_of_both_errors_share_a_picture(votes_cert):
    model, points, exact = votes_cert
    axes = exact.plot().ax_
    assert axes.get_ylabel().startswith("certified error")
    model.certify(points, method="attack").plot(ax=axes)
    assert axes.get_ylabel() == "error (share of test points)"


def test_points_that_nothing_breaks_do_not_squeeze_the_picture():
    display = make([1.0, 2.0, 1e9], [1.0, 2.0, np.inf], ["exact", "exact", "bounded"]).plot()
    assert display.radii[-1] == pytest.approx(21.0)
    alone = make([1e9], [np.inf], ["bounded"]).plot()
    assert alone.radii[-1] == pytest.approx(1.05e9)


def test_chosen_radii_are_marked_and_bounded_between():
    display = make([1.0, 3.0], [1.0, 3.0]).plot(radii=[0.0, 2.0])
    assert display.line_.get_drawstyle() == "steps-pre"
    (band,) = display.ax_.collections
    assert {(0.0, 0.0), (0.0, 0.5), (2.0, 0.0), (2.0, 0.5)} <= corners_of(band)
    many = make([1.0, 3.0], [1.0, 3.0]).plot(radii=np.linspace(0, 4, 100))
    assert many.line_.get_marker() == "None"


def test_tight_intervals_draw_no_band():
    cert = make([1.0, 2.0], [1.0 + 1e-12, 2.0 + 1e-12])
    assert len(cert.plot().ax_.collections) == 0


def test_infinite_radii_draw_a_flat_line():
    display = make([np.inf] * 3, [np.inf] * 3).plot()
    np.testing.assert_array_equal(display.line_.get_ydata(), [0.0, 0.0])


def test_display_from_estimator_certifies(classifier, digits):
    _, _, points, labels = digits
    display = CertifiedErrorDisplay.from_estimator(classifier, points, labels, radii=[0.0, 0.5], color="red")
    assert display.line_.get_color() == "red"
    np.testing.assert_array_equal(
        display.certified_error, classifier.certify(points, labels).certified_error([0, 0.5])
    )


def test_examples_show_the_closest_points(certification, digits):
    _, _, points, _ = digits
    figure = certification.plot_examples(points, (8, 8), n=3)
    assert len(figure.axes) == 9
    closest = np.sort(certification.upper[certification.upper > 0])[0]
    assert f"r = {closest:.3g}" in figure.axes[0].get_title()
    assert len(certification.plot_examples(points, (8, 8), indices=[5]).axes) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (7, 7)}, r"shape must be .* and product 64; got \(7, 7\)"),
        ({"shape": (4, 4, 4)}, "with 3 channels"),
        ({"shape": (8, 8), "indices": [60]}, "indices must be row numbers from 0 to 59"),
        ({"shape": (8, 8), "n": 0}, "n must be at least 1"),
    ],
)
def test_examples_refuse_what_does_not_fit(certification, digits, arguments, message):
    with pytest.raises(InputError, match=message):
        certification.plot_examples(digits[2], **arguments)


def test_examples_need_adversarial_points_and_the_same_rows(classifier, certification, digits):
    points = digits[2]
    with pytest.raises(InputError, match="return_adversarial=True"):
        classifier.certify(points[:2]).plot_examples(points[:2], (8, 8))
    with pytest.raises(InputError, match="X has 3 rows, but 60 points were certified"):
        certification.plot_examples(points[:3], (8, 8))
