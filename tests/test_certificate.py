"""The checker of certificates: what it takes, what it says of damage, and that it stands alone."""

import ast
import base64
import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
import sys
from collections import UserDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import certimetric as cm
from certimetric import certificate as checker
from certimetric.certificate import (
    Verifier,
    _exact,
    decode,
    encode,
    sha256_of_metric,
    sha256_of_training,
    verify,
)
from oracles.certificates import make_certificate
from oracles.tiny import TinyCase
from properties.data import METRICS, make_problem

ROWS = [[4.0, 1.0], [0.0, 0.0], [0.0, 2.0], [9.0, 9.0]]
LABELS = [1, 0, 0, 1]
CASE = TinyCase(ROWS, LABELS, None, [[1.0, 1.0]])


@pytest.fixture
def good():
    """A certificate of the radius 7/8 of (1, 1), which two rows of its class prove together."""
    certificate = make_certificate(CASE, CASE.points[0])
    assert (certificate["lower"], certificate["upper"]) == (0.875, 0.875)
    assert certificate["witnesses"][0] == [[1, 2], [1.0, 1.0]]
    assert verify(certificate, ROWS, LABELS)
    return certificate


def test_a_certificate_is_a_dict_or_its_text(good):
    text = json.dumps(good)
    for form in (good, text, text.encode(), f"\n {text} \n"):
        assert verify(form, ROWS, LABELS) == checker.Verdict(True)


def without(name):
    return lambda good: {key: value for key, value in good.items() if key != name}


def changed(**fields):
    return lambda good: good | fields


HUGE = 10**400
DAMAGE = {
    "no object": (lambda good: [good], "not a JSON object"),
    "no JSON value at all": (lambda good: object(), "not a JSON object"),
    "text that is not JSON": (lambda good: "{", "not JSON that can be read"),
    "bytes that are not text": (lambda good: b"\xff\xfe\x00", "not JSON that can be read"),
    "text nested too deeply": (lambda good: "[" * 200_000, "not JSON that can be read"),
    "an integer with too many digits": (lambda good: "9" * 100_000, "not JSON that can be read"),
    "a name that occurs twice": (lambda good: '{"lower": 1, "lower": 2}', "a name occurs twice"),
    "another format": (changed(format="certificate"), "format is not 'certimetric.certificate'"),
    "another version": (changed(version=2), "version is not 1"),
    "a version that is no integer": (changed(version=1.0), "version is not 1"),
    "another norm": (changed(norm=1), "norm is not 2"),
    "another training set": (changed(training="0" * 64), "training is not '[0-9a-f]{64}'"),
    "another metric": (changed(metric="0" * 64), "metric is not 'euclidean'"),
    "a missing field": (without("index"), "its fields are not those of version 1"),
    "a field that version 1 does not have": (changed(proof=[]), "its fields are not those of version 1"),
    "no neighbors": (changed(n_neighbors=0), "n_neighbors is not an integer from 1 to 4"),
    "a boolean for a number of neighbors": (changed(n_neighbors=True), "n_neighbors is not an integer"),
    "more neighbors than rows": (changed(n_neighbors=5), "n_neighbors is not an integer from 1 to 4"),
    "a negative index": (changed(index=-1), "index is not an integer"),
    "an index of many digits": (changed(index=10**4300), "index is not an integer"),
    "a tree that is none": (changed(tree="junk"), "tree is not one"),
    "another rule": (changed(rule="unanimity"), "rule is unknown"),
    "a rule that is no text": (changed(rule=["plurality"]), "rule is unknown"),
    "a point of another length": (changed(point=encode([1.0])), "a point is not the base64 of 2 finite"),
    "a point of half a number": (changed(point="AAAA"), "a point is not the base64"),
    "a point that is no base64": (changed(point="é*"), "a point is not the base64"),
    "a point that is a list": (changed(point=[1.0, 1.0]), "a point is not the base64"),
    "a point with NaN": (changed(point=encode([1.0, np.nan])), "a point is not the base64 of 2 finite"),
    "an infinite adversarial point": (changed(adversarial=encode([np.inf, 0.0])), "a point is not the"),
    "no point": (changed(point=None), "a point is not the base64"),
    "a label that is a list": (changed(label=[0]), "a label is not text"),
    "a label that is NaN": (changed(label=float("nan")), "a label is not text"),
    "a prediction that is null": (changed(predicted=None), "a label is not text"),
    "a label of another kind": (changed(predicted=False), "predicted is not what the nearest rows say"),
    "a wrong prediction": (changed(predicted=1), "predicted is not what the nearest rows say"),
    "a label that is missed": (changed(label=1), "the label is missed, but the ends not 0"),
    "a lower end that is NaN": (changed(lower=float("nan")), "lower is not a binary64 number"),
    "a lower end that is text": (changed(lower="1"), "lower is not a binary64 number"),
    "a lower end that is a boolean": (changed(lower=True), "lower is not a binary64 number"),
    "a lower end that is too large": (changed(lower=HUGE), "lower is not a binary64 number"),
    "a lower end of too many digits": (changed(lower=2**60 + 1), "lower is not a binary64 number"),
    "a negative lower end": (changed(lower=-1.0), "lower is not a binary64 number"),
    "an upper end that is infinite": (changed(upper=float("inf")), "upper is not a binary64 number"),
    "an upper end without its point": (changed(adversarial=None), "upper has no adversarial point"),
    "an upper end below its point": (changed(upper=0.87), "the adversarial point is beyond upper"),
    "a point that keeps the answer": (
        changed(adversarial=encode([1.5, 1.0])),
        "the adversarial point does not change the answer",
    ),
    "a lower end beyond the radius": (changed(lower=0.875 + 2**-53), "no witness proves lower of row 0"),
    "an infinite lower end": (changed(lower=None), "no witness proves lower of row 0"),
    "no witnesses": (changed(witnesses=[]), "no witness proves lower of row 0"),
    "witnesses that are no list": (changed(witnesses={}), "witnesses is not a list"),
    "a witness without weights": (changed(witnesses=[[[0, 1]]]), "not rows and as many weights"),
    "a witness of fewer weights": (changed(witnesses=[[[0, 1], [1.0]]]), "not rows and as many weights"),
    "a witness of nothing": (changed(witnesses=[[[], []]]), "not rows and as many weights"),
    "a witness that is text": (changed(witnesses=["ab"]), "not rows and as many weights"),
    "an index out of range": (changed(witnesses=[[[4], [1.0]]]), "a row of a witness is not an integer"),
    "a negative index of a row": (changed(witnesses=[[[-1], [1.0]]]), "a row of a witness is not"),
    "an index that is a boolean": (changed(witnesses=[[[True], [1.0]]]), "a row of a witness is not"),
    "an index that is huge": (changed(witnesses=[[[HUGE], [1.0]]]), "a row of a witness is not"),
    "an index of another class": (changed(witnesses=[[[1, 0], [1, 1]]]), "a witness has another class"),
    "a weight of 0": (changed(witnesses=[[[0], [0.0]]]), "a weight is not positive"),
    "a negative weight": (changed(witnesses=[[[1, 2], [2.0, -1.0]]]), "a weight is not a binary64"),
    "an infinite weight": (changed(witnesses=[[[0], [float("inf")]]]), "a weight is not a binary64"),
    "a weight that is too large": (changed(witnesses=[[[0], [HUGE]]]), "a weight is not a binary64"),
    "several neighbors with a lower end": (
        changed(n_neighbors=2, upper=None, adversarial=None),
        "lower of several neighbours has no tree",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_rejected_in_words(good, case):
    damage, reason = DAMAGE[case]
    verdict = verify(damage(good), ROWS, LABELS)
    assert not verdict
    assert not verdict.accepted
    assert re.search(reason, verdict.reason), verdict.reason


WEIRD = {
    "a dict of another kind": lambda good, tree: UserDict(good | {"tree": tree}),
    "a dict that raises": lambda good, tree: Raising(good | {"tree": tree}),
    "a set for a rival": lambda good, tree: good | {"tree": with_way(tree, rival=set())},
    "an array for a side": lambda good, tree: good | {"tree": with_node(tree, fixed=[[0, SIDES, [[], []]]])},
    "a huge integer for a side": lambda good, tree: (
        good | {"tree": with_node(tree, rows=[0], before=10**5000, children=[None])}
    ),
}
SIDES = np.array(["in", "out"])


class Raising(dict):
    def get(self, *_):
        raise KeyError


def with_way(tree, **fields):
    return tree | {"ways": [tree["ways"][0] | fields]}


def with_node(tree, **fields):
    return with_way(tree, nodes=[fields])


@pytest.mark.parametrize("case", WEIRD)
def test_objects_that_json_does_not_have_are_rejected(good, case):
    tree = {"judges": [], "ways": [{"rival": None, "own": 0, "nodes": []}]}
    assert not verify(WEIRD[case](good, tree), ROWS, LABELS)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "true", "-1"])
@pytest.mark.parametrize("end", ["lower", "upper"])
def test_tokens_that_are_no_radius_are_rejected(good, end, token):
    text = json.dumps(good).replace(f'"{end}": 0.875', f'"{end}": {token}')
    assert token in text
    assert "is not a binary64 number of at least 0" in verify(text, ROWS, LABELS).reason


def test_weights_have_any_scale(good):
    rows, weights = good["witnesses"][0]
    for scale in (1e-300, 1.0, 1e300, 5e-324):
        assert verify(good | {"witnesses": [[rows, [scale for _ in weights]]]}, ROWS, LABELS)
    assert verify(good | {"witnesses": [[rows, [1 for _ in weights]]]}, ROWS, LABELS)


def test_witnesses_that_prove_nothing_do_no_harm(good):
    witnesses = [[[1], [1.0]], *good["witnesses"], [[2], [1e-200]]]
    assert verify(good | {"witnesses": witnesses}, ROWS, LABELS)


def test_work_has_an_end(good, monkeypatch):
    monkeypatch.setattr(checker._exact, "_WORK", 2**16)
    assert verify(good, ROWS, LABELS)
    many = good | {"witnesses": [[[1], [1.0]]] * 100}
    assert "too much work" in verify(many, ROWS, LABELS).reason


def test_what_many_nodes_know_is_work_too(monkeypatch):
    """A split of all rows, whose children are as many nodes that know them."""
    monkeypatch.setattr(checker._exact, "_WORK", 2**28)
    n = 1001
    rows, labels = np.linspace(-1, 1, n)[:, None], np.arange(n) % 2
    verifier = Verifier(rows, labels)
    split = {"rows": [*range(n)], "before": "out", "children": [*range(1, n + 1)]}
    way = {"rival": None, "own": 250, "nodes": [split, *({} for _ in range(n))]}
    certificate = make_certificate(TinyCase([[0.0], [1.0]], [0, 1], None, []), [0.0]) | {
        "training": verifier.training,
        "n_neighbors": 501,
        "label": int(labels[250:751].sum() > 250),
        "predicted": int(labels[250:751].sum() > 250),
        "lower": 0.01,
        "upper": None,
        "adversarial": None,
        "tree": {"judges": [], "ways": [way]},
    }
    assert "too much work" in verifier.verify(certificate).reason
    nested: list[object] = []
    nested.append(nested)
    way["nodes"] = nested
    assert "too much work" in verifier.verify(certificate).reason


def test_a_row_that_repeats_one_of_a_lower_index_needs_no_witness():
    rows, labels = [[0.0, 1.0], [-0.0, 1.0], [5.0, 5.0]], [0, 1, 0]
    certificate = make_certificate(TinyCase(rows, labels, None, []), [0.0, 2.0])
    assert (certificate["lower"], certificate["upper"], certificate["witnesses"]) == (None, None, [])
    assert verify(certificate, rows, labels)
    # The other way round its row wins every tie, so nothing is proven of it.
    order = [1, 0, 2]
    turned = make_certificate(TinyCase([rows[i] for i in order], [1, 0, 0], None, []), [0.0, 2.0])
    assert turned["predicted"] == 1
    claim = turned | {"predicted": 0, "label": 0, "lower": None, "upper": None}
    assert not verify(claim, [rows[i] for i in order], [1, 0, 0])


@pytest.mark.parametrize(("labels", "radius"), [([0, 0, 1, 2], 0.0), ([0, 0, 0, 1], math.inf)])
def test_where_all_rows_vote_a_majority_is_there_or_not(labels, radius):
    """Two of four rows are the most of any class, and no majority."""
    clf = cm.CertifiedKNeighborsClassifier(4).fit(ROWS, labels)
    cert = clf.certify(CASE.points, rule="majority", return_certificates=True)
    assert cert.lower == radius
    certificate = json.loads(cert.certificates[0])
    assert verify(certificate, ROWS, labels)
    infinite = {"lower": None, "upper": None, "adversarial": None}
    for tree in (certificate["tree"], {"judges": [], "ways": []}):
        verdict = verify(certificate | infinite | {"tree": tree}, ROWS, labels)
        assert bool(verdict) == (radius == math.inf and tree is not None), verdict.reason


def test_one_class_has_an_infinite_radius_for_any_vote():
    case = TinyCase(ROWS, [3, 3, 3, 3], None, [])
    certificate = make_certificate(case, [1.0, 1.0])
    assert certificate["lower"] is None
    for k in range(1, 5):
        assert verify(certificate | {"n_neighbors": k, "rule": "majority"}, ROWS, [3, 3, 3, 3])


def test_a_lower_end_whose_cells_tell_nothing_has_no_empty_witness():
    """Rows that differ in their last digits, so that rounding hides the gaps between their images."""
    rows = [
        [7.17704967052491e148, 5.602438805928923e149],
        [2.9873412666621875e149, -1.6283559702036116e149],
        [2.987341266662188e149, -1.6283559702036116e149],
        [2.9873412666621875e149, 5.602438805928922e149],
        [-1.7628742712089274e149, 3.1218595676675038e149],
        [5.467920504923606e149, 3.121859567667504e149],
        [-1.762874271208928e149, 3.1218595676675038e149],
        [5.467920504923607e149, 3.1218595676675038e149],
    ]
    labels = [1, 0, 1, 0, 1, 1, 0, 0]
    metric = cm.Mahalanobis.from_components(
        [[-0.3571400752601153, -0.8085973227421183], [0.4403563261444087, 0.15718664804008328]]
    )
    clf = cm.CertifiedKNeighborsClassifier(1, metric=metric).fit(rows, labels)
    cert = clf.certify([[1.8525231168573394e149, 1.9870414178626554e149]], return_certificates=True)
    verdict = verify(cert.certificates[0], rows, labels, metric)
    assert verdict, verdict.reason


@pytest.mark.parametrize(
    "labels",
    [["a", "b", "b", "a"], [True, False, False, True], [-1.0, 0.5, 0.5, -1.0], [2**60, -3, -3, 2**60]],
)
def test_labels_are_text_numbers_or_booleans(good, labels):
    made = good | {"training": sha256_of_training(ROWS, labels), "label": labels[1], "predicted": labels[1]}
    assert verify(json.dumps(made), ROWS, labels)
    assert not verify(json.dumps(made | {"predicted": labels[0]}), ROWS, labels)
    # Two votes each: the smallest label wins.
    tie = made | {"n_neighbors": 4, "lower": 0.0, "upper": 0.0, "adversarial": None, "label": "?"}
    assert verify(json.dumps(tie | {"predicted": min(labels)}), ROWS, labels)
    assert not verify(json.dumps(tie | {"predicted": max(labels)}), ROWS, labels)


def test_whole_numbers_are_the_same_labels_as_integers_and_as_floats(good):
    assert verify(good | {"label": 0.0, "predicted": 0}, ROWS, LABELS)


def test_metrics_are_components_or_objects_that_have_them(good):
    G = np.array([[1.0, 0.5], [0.0, 2.0], [1.0, 1.0]])
    case = TinyCase(ROWS, LABELS, G.tolist(), [])
    certificate = make_certificate(case, [1.0, 1.0])
    for metric in (G, G.tolist(), cm.Mahalanobis.from_components(G)):
        assert verify(certificate, ROWS, LABELS, metric)
        assert "metric is not" in verify(good, ROWS, LABELS, metric).reason
    for metric in (None, "euclidean", cm.Mahalanobis.euclidean(), cm.Mahalanobis.euclidean(2)):
        assert verify(good, ROWS, LABELS, metric)
        assert "metric is not" in verify(certificate, ROWS, LABELS, metric).reason


def test_a_matrix_is_no_components_and_says_so_in_its_hash():
    M = [[2.0, 1.0], [1.0, 3.0]]
    by_matrix, by_components = (
        make_certificate(case, [1.0, 1.0])
        for case in (TinyCase(ROWS, LABELS, None, [], M), TinyCase(ROWS, LABELS, M, []))
    )
    given = ({"matrix": M}, {"metric": cm.Mahalanobis.from_matrix(M)}), ({"metric": M},)
    for right, wrong, metrics in zip(
        (by_matrix, by_components), (by_components, by_matrix), given, strict=True
    ):
        for metric in metrics:
            assert verify(right, ROWS, LABELS, **metric)
            assert "metric is not" in verify(wrong, ROWS, LABELS, **metric).reason


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"matrix": [[1.0, 2.0], [0.0, 1.0]]}, "matrix must be symmetric"),
        ({"matrix": np.eye(3)}, "matrix must be symmetric, with a row for each of X_train's features"),
        ({"matrix": [[np.inf, 0.0], [0.0, 1.0]]}, "matrix contains NaN or infinity"),
        ({"metric": np.eye(2), "matrix": np.eye(2)}, "metric and matrix must not both be given"),
    ],
)
def test_bad_matrices_are_refused(metrics, message):
    with pytest.raises(ValueError, match=message):
        Verifier(ROWS, LABELS, **metrics)


BAD = {
    "text": (([["a", "b"]], [0]), "X_train must be a matrix of numbers"),
    "one dimension": (([1.0, 2.0], [0, 1]), "X_train must be a matrix of numbers"),
    "no rows": ((np.empty((0, 2)), []), "X_train must be a matrix of numbers"),
    "NaN": (([[np.nan, 1.0]], [0]), "X_train contains NaN"),
    "too few labels": ((ROWS, [0, 1]), "y_train must have one label for each row"),
    "a label that is NaN": ((ROWS, [0, 1, np.nan, 2]), "a label is not text, a finite number"),
    "mixed labels": ((ROWS, np.array([0, 1, "a", "b"], dtype=object)), "y_train must not mix"),
    "another metric by name": ((ROWS, LABELS, "cosine"), "metric must be a matrix of numbers"),
    "components of other features": ((ROWS, LABELS, np.eye(3)), "metric must have X_train's features"),
    "infinite components": ((ROWS, LABELS, np.full((2, 2), np.inf)), "metric contains NaN or infinity"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_training_data_and_metrics_are_refused(case):
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        Verifier(*arguments)


def test_hashes_are_those_of_the_format():
    rows, labels = [[1.0, -0.0], [0.5, 3.0]], ["é", "b"]
    numbers = struct.pack("<4d", 1.0, -0.0, 0.5, 3.0)
    text = b'{"shape":[2,2],"y":["\\u00e9","b"]}\n'
    assert sha256_of_training(rows, labels) == hashlib.sha256(text + numbers).hexdigest()
    assert sha256_of_training(np.asfortranarray(rows), np.array(labels)) == sha256_of_training(rows, labels)
    assert sha256_of_metric(rows) == hashlib.sha256(b'{"shape":[2,2]}\n' + numbers).hexdigest()
    assert sha256_of_training(rows, [1, 0]) != sha256_of_training(rows, [1.0, 0.0])
    assert sha256_of_training(rows, [1, 0]) == sha256_of_training(
        np.float32(rows), np.array([1, 0], np.uint8)
    )


def test_many_rows_that_repeat_others_are_settled_at_once():
    rows, labels = np.tile(np.arange(40.0).reshape(20, 2), (100, 1)), np.repeat([0, 1], [20, 1980])
    certificate = make_certificate(TinyCase(ROWS, LABELS, None, []), [1.0, 1.0])
    claim = certificate | {"training": sha256_of_training(rows, labels), "lower": None, "upper": None}
    claim |= {"adversarial": None, "witnesses": []}
    assert verify(claim, rows, labels)
    labels[7] = 1
    assert verify(claim | {"training": sha256_of_training(rows, labels)}, rows, labels).reason.endswith(
        "row 7"
    )


@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_numbers_come_back_from_base64_bit_for_bit(numbers):
    assert encode(numbers) == base64.b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()
    assert struct.pack(f"<{len(numbers)}d", *decode(encode(numbers))) == struct.pack(
        f"<{len(numbers)}d", *numbers
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.data())
def test_arbitrary_json_gets_a_verdict_and_no_false_claim(data):
    """Fields of a good certificate are replaced; what is then accepted says no more than that one."""
    good = make_certificate(CASE, CASE.points[0])
    names = data.draw(st.sets(st.sampled_from(sorted(good)), min_size=1, max_size=3))
    strange = good | {name: data.draw(JSON, label=name) for name in sorted(names)}
    assert verify(data.draw(JSON, label="instead"), ROWS, LABELS).reason
    for form in (strange, json.dumps(strange)):
        verdict = verify(form, ROWS, LABELS)
        assert verdict or verdict.reason
        if verdict and strange["label"] == 0 and strange["point"] == good["point"]:
            assert strange["lower"] is not None
            assert strange["lower"] <= 0.875
            assert strange["upper"] is None or strange["upper"] >= 0.875


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_arbitrary_text_gets_a_verdict(text):
    assert verify(text, ROWS, LABELS).reason


def test_rows_that_coincide_in_the_metric_are_settled_by_the_lowest_index_of_a_witness():
    """G sees the first feature only: rows 0, 1 and 3 are one place, row 4 another."""
    rows, labels, G = (
        [[0.0, 1.0], [0.0, 2.0], [2.0, 0.0], [0.0, 3.0], [7.0, 0.0]],
        [0, 1, 0, 0, 1],
        [[1.0, 0.0]],
    )
    certificate = make_certificate(TinyCase(rows, labels, G, []), [0.5, 0.0])
    tie, wall = [[0], [1.0]], [[2], [1.0]]
    assert certificate["witnesses"] == [tie, wall]
    for witness in (tie, [[0, 3], [1.0, 2.0]], [[3, 0], [1.0, 2.0]]):
        assert verify(certificate | {"witnesses": [witness, wall]}, rows, labels, G)
    for witness in ([[3], [1.0]], [[0, 2], [1.0, 1.0]]):
        verdict = verify(certificate | {"witnesses": [witness, wall]}, rows, labels, G)
        assert verdict.reason == "no witness proves lower of row 1"


@pytest.mark.parametrize(("scale", "weight"), [(1.0, 1.0), (1e100, 1e-158), (1e100, 1e-170), (1e-170, 1e140)])
def test_bounds_of_the_filter_hold_where_the_metric_cancels(scale, weight):
    """Also where the squares of its numbers, or of the rows, underflow."""
    rng = np.random.default_rng(3)
    rows = scale * (rng.normal(size=(60, 2)) + 1e9 * rng.normal(size=(60, 1)))
    assert_bounds_hold(rows, weight * np.array([[1.0, -1.0]]), rows[0], "near")
    assert_bounds_hold(rows, weight * np.array([[1.0, -1.0]]), rows[0], "far")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shift", [0.0, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e60, 1e-200])
def test_bounds_of_the_filter_hold_of_the_exact_distances(metric, shift, scale):
    problem = make_problem(5, 20, 6, "blobs", metric)
    rows, G = scale * (problem.rows + shift), problem.components
    rows[3], rows[4] = rows[5], np.nextafter(rows[5], np.inf)
    for point in (rows[5], scale * (problem.points[0] + shift), np.zeros(6)):
        low, high = assert_bounds_hold(rows, G, point, "near")
        assert_bounds_hold(rows, G, point, "far")
        # And they tell something, where neither underflow nor the shift is in the way.
        assert scale == 1e-200 or shift == 1e9 or (high[7:] <= (1 + 1e-6) * low[7:] + 1e-9 * scale).all()


def assert_bounds_hold(rows, G, point, name):
    """Bounds of ``‖G(x − p)‖``, or of ``‖M(x − p)‖`` by the images that are called far."""
    home = Verifier(rows, np.zeros(len(rows), dtype=int), G)
    image = home.image(point[None])
    if name == "far" and G is not None:
        image = image.times(G)
    low, high = getattr(home, name).bounds(image, np.arange(len(rows)))
    exact = [] if G is None else [[Fraction(value) for value in row] for row in G.tolist()]
    for row, least, most in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
        gap = [Fraction(a) - Fraction(b) for a, b in zip(row, point.tolist(), strict=True)]
        if G is not None:
            gap = [sum(g * u for g, u in zip(line, gap, strict=True)) for line in exact]
        if G is not None and name == "far":
            gap = [
                sum(g * u for g, u in zip(column, gap, strict=True)) for column in zip(*exact, strict=True)
            ]
        squared = sum(u**2 for u in gap)
        assert Fraction(least) ** 2 <= squared
        assert most == np.inf or squared <= Fraction(most) ** 2
    return low, high


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("value", [{1}, bytearray(b"1"), np.zeros(1), [], {}, None, math.nan, "a"])
@pytest.mark.parametrize("name", ["rival", "own", "nodes"])
def test_values_that_json_does_not_have_get_a_verdict(good, plain, name, value):
    way = {"rival": None, "own": 1, "nodes": [], name: value}
    false = good | {"n_neighbors": 3, "tree": {"judges": [], "ways": [way]}}
    assert not Verifier(ROWS, LABELS, plain=plain).verify(false)


def test_the_folder_imports_nothing_of_the_library_and_is_short():
    files = [*Path(checker.__file__).parent.glob("*.py")]
    assert len(files) == 6
    sources = [file.read_text(encoding="utf-8") for file in files]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {name.split(".")[0] for name in names}
    assert imported <= {*sys.stdlib_module_names, "numpy", "", "_exact", "_format", "_tree", "_votes"}
    assert max(len(source.splitlines()) for source in sources) <= 300


def test_importing_it_does_not_load_the_core():
    code = "import sys, certimetric.certificate; assert 'certimetric._native' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_copy_of_the_folder_alone_checks_certificates(good, tmp_path):
    shutil.copytree(Path(checker.__file__).parent, tmp_path / "sceptic")
    (tmp_path / "good.json").write_text(json.dumps(good), encoding="utf-8")
    code = f"""
import sys
import sceptic
text = open("good.json").read()
assert sceptic.verify(text, {ROWS}, {LABELS})
assert not sceptic.verify(text.replace('"lower": 0.875', '"lower": 0.876'), {ROWS}, {LABELS})
assert not any(name.startswith("certimetric") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 60), size=st.integers(0, 200))
@settings(max_examples=20)
def test_products_by_digits_are_those_of_integers(seed, spread, size):
    rng = np.random.default_rng(seed)
    numbers = np.ldexp(rng.normal(size=(60, 70)), rng.integers(-spread, spread + 1, size=(60, 70)))
    whole = np.array([int(x) << int(size) for x in rng.integers(-(2**62), 2**62, 70)], dtype=object)
    matrix = _exact.integers(numbers, _exact.grid_of(numbers))
    large = _exact.Whole(matrix)
    assert large.digits is not None
    assert (large.times(whole) == np.dot(matrix, whole)).all()


def test_large_metrics_are_checked_by_digits():
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(30, 70)), np.arange(30) % 2
    components = rng.normal(size=(70, 70))
    metric = cm.Mahalanobis.from_components(components)
    for k in (1, 3):
        model = cm.CertifiedKNeighborsClassifier(k, metric=metric).fit(rows, labels)
        cert = model.certify(rng.normal(size=(5, 70)), return_certificates=True)
        verifier = Verifier(rows, labels, components)
        for line in cert.certificates:
            assert verifier.verify(line), verifier.verify(line).reason
            more = json.loads(line)
            if more["lower"]:
                more["lower"] *= 1 + 1e-6
                assert not verifier.verify(more)


def test_patience_is_a_matter_of_the_caller():
    rng = np.random.default_rng(4)
    rows, labels = rng.normal(size=(60, 5)), np.arange(60) % 2
    model = cm.CertifiedKNeighborsClassifier(5).fit(rows, labels)
    (line,) = model.certify(rows[:1] + 0.1, return_certificates=True).certificates
    assert verify(line, rows, labels)
    verdict = verify(line, rows, labels, patience=1e-9)
    assert verdict.reason == "to check it takes too much work for this patience"
    assert verify(line, rows, labels, patience=math.inf)
