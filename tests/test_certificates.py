"""Certificates from the library: every one is accepted, says what the result says, and survives files."""

import json

import numpy as np
import pytest

import certimetric as cm
from certimetric.certificate import Verifier
from certimetric.exceptions import DataError, InputError


@pytest.fixture(scope="module")
def model(digits):
    rows, labels, points, truth = digits
    names = np.array([f"digit {label}" for label in range(10)])
    return cm.CertifiedKNeighborsClassifier().fit(rows, names[labels]), points, names[truth]


def verifier_of(model, metric=None):
    index = model._index
    return Verifier(index.rows, model.classes_[index.codes], metric)


def number(end):
    return np.inf if end is None else end


def assert_accepted(cert, verifier):
    for line, lower, upper in zip(cert.certificates, cert.lower, cert.upper, strict=True):
        verdict = verifier.verify(line)
        assert verdict, verdict.reason
        fields = json.loads(line)
        assert (number(fields["lower"]), number(fields["upper"])) == (lower, upper)


def test_certificates_of_real_points_are_accepted(model):
    clf, points, truth = model
    cert = clf.certify(points, truth, return_certificates=True)
    assert_accepted(cert, verifier_of(clf))
    plain = clf.certify(points, truth)
    np.testing.assert_array_equal(cert.lower, plain.lower)
    np.testing.assert_array_equal(cert.upper, plain.upper)
    assert cert.adversarial is None
    assert plain.certificates is None


def test_certificates_do_not_depend_on_threads_or_batches(model):
    clf, points, truth = model
    serial = clf.certify(points[:40], truth[:40], n_jobs=1, return_certificates=True)
    threads = clf.certify(points[:40], truth[:40], n_jobs=3, return_certificates=True, progress=True)
    assert serial.certificates.tolist() == threads.certificates.tolist()


@pytest.mark.parametrize("rule", ["plurality", "majority"])
@pytest.mark.parametrize(
    "question", [{}, {"method": "bound"}, {"point_node_limit": 5}, {"eps": [3.0, 9.0, 12.0]}]
)
def test_certificates_of_votes_on_real_points_are_accepted(digits, rule, question):
    rows, labels, points, truth = digits
    clf = cm.CertifiedKNeighborsClassifier(5).fit(rows, labels)
    cert = clf.certify(points[:12], truth[:12], rule=rule, return_certificates=True, **question)
    assert_accepted(cert, verifier_of(clf))


@pytest.mark.parametrize("k", [1, 4])
def test_certificates_under_a_metric_are_accepted(digits, k):
    rows, labels, points, truth = digits
    metric = cm.Mahalanobis.from_covariance(rows)
    clf = cm.CertifiedKNeighborsClassifier(k, metric=metric).fit(rows, labels)
    cert = clf.certify(points[:8], truth[:8], return_certificates=True)
    assert_accepted(cert, verifier_of(clf, metric))


def test_points_that_were_not_reached_have_none(model):
    clf, points, _ = model
    cert = clf.certify(points[:3], time_limit=0, return_certificates=True)
    assert cert.certificates.tolist() == [None] * 3


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_certificates_are_written_a_line_each(model, tmp_path, suffix):
    from certimetric._jsonl import read_lines

    clf, points, truth = model
    cert = clf.certify(points[:5], truth[:5], return_certificates=True)
    path = tmp_path / f"run{suffix}"
    cert[2:].save_certificates(path)
    lines = [line.decode() for _, line in read_lines(path)]
    assert lines == cert.certificates[2:].tolist()
    assert [json.loads(line)["index"] for line in lines] == [2, 3, 4]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_results_keep_certificates(model, tmp_path, suffix):
    clf, points, truth = model
    cert = clf.certify(points[:4], truth[:4], time_limit=None, return_certificates=True)
    path = tmp_path / f"run{suffix}"
    cert.save(path)
    assert cm.Certification.load(path).certificates.tolist() == cert.certificates.tolist()


def test_without_certificates_there_is_nothing_to_write(model, tmp_path):
    clf, points, _ = model
    with pytest.raises(InputError, match="return_certificates=True"):
        clf.certify(points[:2]).save_certificates(tmp_path / "run.jsonl")
    cert = clf.certify(points[:2], return_certificates=True)
    with pytest.raises(DataError, match=r"known suffixes are \.jsonl"):
        cert.save_certificates(tmp_path / "run.csv")
