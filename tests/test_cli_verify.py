"""The command ``verify``: what it prints, its exit codes, and the files that it reads."""

import gzip
import json
import sys

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

from certimetric._cli_app import app
from oracles.certificates import make_certificate
from oracles.tiny import TinyCase

ROWS = [[4.0, 1.0], [0.0, 0.0], [0.0, 2.0], [9.0, 9.0], [5.0, 3.0]]
LABELS = [1, 0, 0, 1, 0]
POINTS = [[1.0, 1.0], [3.5, 1.0], [8.0, 8.0], [0.1, 0.2]]


def lines(rows=ROWS, components=None):
    case = TinyCase(rows, LABELS, components, [])
    return [json.dumps(make_certificate(case, point, LABELS[k])) for k, point in enumerate(POINTS)]


@pytest.fixture
def train(tmp_path):
    np.savez(tmp_path / "train.npz", X_train=ROWS, y_train=LABELS)
    return tmp_path / "train.npz"


@pytest.fixture
def good(tmp_path):
    return written(tmp_path / "good.jsonl", lines())


def written(path, certificates):
    content = "".join(f"{line}\n" for line in certificates).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        # Two frames, as of a file that was written to twice.
        half = len(content) // 2
        content = b"".join(map(zstandard.ZstdCompressor().compress, (content[:half], content[half:])))
    path.write_bytes(content)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("way", [[], ["--plain"]])
def test_certificates_that_hold_exit_with_zero(tmp_path, train, suffix, way):
    file = written(tmp_path / f"run{suffix}", lines())
    result = run(file, "--train", train, "-q", *way)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{file}: 4 certificates, 4 accepted, 0 rejected\n  size: median ")
    assert "time: median" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("way", [[], ["--plain"]])
def test_rejected_certificates_are_told_by_line_and_exit_with_one(tmp_path, train, way):
    certificates = lines()
    certificates[1] = certificates[1].replace('"upper": ', '"upper": 0.1')
    certificates[2] = certificates[2][:-1]
    # Blank lines are counted, and no certificates.
    file = written(tmp_path / "run.jsonl", ["", *certificates])
    result = run(file, "--train", train, "-q", *way)
    assert result.exit_code == 1
    assert "4 certificates, 2 accepted, 2 rejected" in result.stdout
    assert "line 3: " in result.stdout
    assert "line 4: it is not JSON that can be read" in result.stdout
    assert "internal error" not in result.stderr


def test_many_rejections_are_told_in_short(good, train, tmp_path):
    file = written(tmp_path / "run.jsonl", ["{}"] * 30)
    result = run(file, "--train", train, "-q")
    assert result.exit_code == 1
    assert result.stdout.count("  line ") == 20
    assert "and 10 more are rejected" in result.stdout


def test_progress_tells_the_share_that_is_accepted(good, train):
    result = run(good, "--train", train)
    assert result.exit_code == 0
    assert "100.0% proven" in result.stderr


def numbered(indices):
    return [json.dumps(json.loads(lines()[0]) | {"index": index}) for index in indices]


@pytest.mark.parametrize(
    ("indices", "told"),
    [
        ([2, 0, 1], ["3 of the first 3 have a proof"]),
        ([4, 1, 1], ["2 of the first 5 have a proof", "none: 0, 2, 3\n", "several: 1\n"]),
        ([30, 10**18], ["none: 0, 1, 2, 3,", "18, 19, ...\n"]),
    ],
)
def test_points_without_a_proof_are_told(tmp_path, train, indices, told):
    file = written(tmp_path / "run.jsonl", numbered(indices))
    result = run(file, "--train", train, "-q")
    assert result.exit_code == 0
    assert all(text in result.stdout for text in told), result.stdout
    assert ("none:" in result.stdout) == (len(told) > 1)


def test_a_rejected_certificate_is_no_proof_of_its_point(tmp_path, train):
    certificates = numbered(range(3))
    certificates[1] = certificates[1].replace('"upper": ', '"upper": 0.1')
    result = run(written(tmp_path / "run.jsonl", certificates), "--train", train, "-q")
    assert "points: 2 of the first 3 have a proof\n    none: 1\n" in result.stdout


def test_another_training_set_is_rejected(good, tmp_path):
    np.savez(tmp_path / "other.npz", X_train=np.array(ROWS) + 1e-9, y_train=LABELS)
    result = run(good, "--train", tmp_path / "other.npz", "-q")
    assert result.exit_code == 1
    assert result.stdout.count("training is not") == 4


def test_training_data_is_read_scaled_and_measured_as_by_certify(tmp_path, train):
    rows = (np.array(ROWS) / 255).tolist()
    components = [[1.0, 2.0], [0.0, 0.5]]
    np.savez(tmp_path / "metric.npz", G=components)
    np.savez(tmp_path / "named.npz", data=ROWS, target=LABELS)
    file = written(tmp_path / "run.jsonl", lines(rows, components))
    options = ("--scale", "255", "--metric", tmp_path / "metric.npz", "-q")
    assert run(file, "--train", train, *options).exit_code == 0
    assert run(file, "--train", train, *options[:2], "-q").exit_code == 1
    keys = ("--x-key", "data", "--y-key", "target")
    assert run(file, "--train", tmp_path / "named.npz", *keys, *options).exit_code == 0


def cut(content):
    return content[:-9]


def damaged(content):
    return b"x" + content


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("damage", [cut, damaged])
def test_damaged_files_are_one_line(tmp_path, train, suffix, damage):
    file = written(tmp_path / f"run{suffix}", lines())
    file.write_bytes(damage(file.read_bytes()))
    assert_mistake(run(file, "--train", train, "-q"), f"{file}: cannot be read as {suffix[-3:].lstrip('.')}")


def assert_mistake(result, message):
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_mistakes_are_one_line(tmp_path, train, good):
    (tmp_path / "empty.jsonl").write_text("\n \n")
    (tmp_path / "run.json").write_text("{}")
    np.savez(tmp_path / "bare.npz", X_train=ROWS)
    assert_mistake(run(tmp_path / "empty.jsonl", "--train", train), "has no certificates")
    assert_mistake(run(tmp_path / "none.jsonl", "--train", train), "no such file")
    assert_mistake(run(tmp_path / "run.json", "--train", train), "known suffixes are .jsonl, .jsonl.gz")
    assert_mistake(run(good), "--train")
    assert_mistake(run(good, "--train", tmp_path / "none.npz"), "no such file")
    assert_mistake(run(good, "--train", tmp_path / "bare.npz"), "has no labels")
    assert_mistake(run(good, "--train", train, "--metric", "cosine"), "--metric must be")
    assert_mistake(run(good, "--train", train, "--label", "y"), "--label names the label column")


def test_missing_zstandard_names_the_extra(tmp_path, train, monkeypatch):
    file = written(tmp_path / "run.jsonl.zst", lines())
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert_mistake(run(file, "--train", train), "pip install 'certimetric[io]'")


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_lines_without_end_are_refused(tmp_path, train, suffix, monkeypatch):
    file = written(tmp_path / f"run{suffix}", [*lines(), "1" * 50_000, *lines()])
    assert "1 rejected" in run(file, "--train", train, "-q").stdout
    monkeypatch.setattr("certimetric._jsonl._LONGEST", 40_000)
    result = run(file, "--train", train, "-q")
    assert result.exit_code == 2
    assert (
        result.stderr == f"certimetric: error: {file}: has a line that is longer than any that is written.\n"
    )
