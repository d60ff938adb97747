"""Faults while results are written: kills, Ctrl-C, full and read-only disks. No half of a file; --resume."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import certimetric as cm
from certimetric._cli_app import app
from certimetric._files import write_text, writing
from certimetric._parts import Parts
from certimetric.exceptions import OutputError

POINTS = 150

KEPT = 2 + 4
"""Points of the first two parts."""


@pytest.fixture
def files(tmp_path, rng, monkeypatch):
    """An empty folder to work in, with data that takes some parts: of 2, 4, 8 points and so on."""
    labels = np.arange(60 + POINTS) % 3
    rows = rng.normal(size=(60 + POINTS, 4)) + labels[:, None]
    monkeypatch.chdir(tmp_path)
    halves = {"X_train": rows[:60], "y_train": labels[:60], "X_test": rows[60:], "y_test": labels[60:]}
    np.savez("data.npz", **halves)
    return tmp_path


def command(out, *options):
    return ["certify", "--train", "data.npz", "-k", "3", "--out", str(out), "--quiet", *map(str, options)]


def run(out, *options):
    return CliRunner().invoke(app, command(out, *options))


def done(out, *options):
    """The bytes of the file that a run writes."""
    result = run(out, *options)
    assert result.exit_code == 0, result.output
    assert not Parts.beside(Path(out)).folder.exists()
    return Path(out).read_bytes()


def drafts(folder=Path()):
    return [path for path in folder.rglob("*") if path.name.startswith(".certimetric-")]


def the_line(errors):
    """What is said of a mistake: one line."""
    assert errors.startswith("certimetric: "), errors
    assert len(errors.splitlines()) == 1, errors
    return errors


@pytest.fixture
def stopped(monkeypatch):
    """Let an exception come when some parts are finished."""

    def stop(parts, out, *options, error=KeyboardInterrupt):
        certify, calls = cm.CertifiedKNeighborsClassifier.certify, []

        def stopping(*args, **kwargs):
            calls.append(args)
            if len(calls) > parts:
                raise error
            return certify(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(cm.CertifiedKNeighborsClassifier, "certify", stopping)
            return run(out, *options)

    return stop


# Each part takes long enough to be killed in.
SLOW = """
import time
from certimetric import cli, neighbors
certify = neighbors.CertifiedKNeighborsClassifier.certify
def slow(*args, **kwargs):
    time.sleep(0.5)
    return certify(*args, **kwargs)
neighbors.CertifiedKNeighborsClassifier.certify = slow
cli.main()
"""


@pytest.mark.parametrize(("number", "out"), [(signal.SIGKILL, "run.parquet"), (signal.SIGINT, "run.npz")])
def test_a_run_that_is_killed_and_resumed_writes_the_bytes_of_one_that_was_not(files, number, out):
    parts = Parts.beside(files / out)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *command(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while parts.count() < KEPT and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert KEPT <= parts.count() < POINTS, errors
    assert not Path(out).exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert the_line(errors) == (
            f"certimetric: interrupted: {parts.count()} finished points are kept in {out}.parts; "
            "the same command with --resume goes on from there.\n"
        )
    else:
        assert process.returncode == -number
    assert done(out, "--resume") == done(f"whole-{out}")


@pytest.mark.parametrize(
    ("suffix", "finished", "options"),
    [
        ("parquet", 1, ("--eps", "0.1,0.3")),
        ("npz", 2, ("--rule", "majority", "--point-node-limit", 3)),
        ("csv", 2, ("--method", "bound", "--limit", 120, "--seed", 1)),
        ("json", 1, ("-k", 1)),
    ],
)
def test_where_a_run_was_stopped_does_not_show(files, stopped, suffix, finished, options):
    out = f"run.{suffix}"
    result = stopped(finished, out, *options)
    assert result.exit_code == 130
    assert not Path(out).exists()
    # And once more, after the first of the missing parts.
    assert stopped(1, out, "--resume", *options).exit_code == 130
    assert done(out, "--resume", *options) == done(f"whole.{suffix}", *options)


def test_adversarial_points_of_a_resumed_run_are_those_of_the_whole_one(files, stopped, monkeypatch):
    monkeypatch.setattr(cm.Certification, "plot_examples", lambda *_: None)
    monkeypatch.setattr("certimetric._cli_report.save_figure", lambda *_: None)
    options = ("--examples", "closest.png", "--shape", "2x2")
    stopped(2, "run.npz", *options)
    assert done("run.npz", "--resume", *options) == done("whole.npz", *options)
    assert cm.load_certification("run.npz").adversarial.shape == (POINTS, 4)


@pytest.mark.parametrize("k", [1, 3])
def test_certificates_of_a_resumed_run_are_those_of_the_whole_one(files, stopped, k):
    stopped(2, "run.npz", "-k", k, "--certificates", "run.jsonl")
    assert not Path("run.jsonl").exists()
    done("run.npz", "--resume", "-k", k, "--certificates", "run.jsonl")
    done("whole.npz", "-k", k, "--certificates", "whole.jsonl")
    assert Path("run.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_threads_may_change_when_a_run_goes_on(files, stopped):
    stopped(2, "run.npz", "--jobs", 2)
    assert done("run.npz", "--resume", "--jobs", 1) == done("whole.npz")


def test_only_what_is_missing_is_computed(files, stopped, monkeypatch):
    stopped(2, "run.npz")
    asked, certify = [], cm.CertifiedKNeighborsClassifier.certify

    def counted(self, X, *args, **kwargs):
        asked.append(len(X))
        return certify(self, X, *args, **kwargs)

    monkeypatch.setattr(cm.CertifiedKNeighborsClassifier, "certify", counted)
    done("run.npz", "--resume")
    assert sum(asked) == POINTS - KEPT


def test_a_part_that_is_lost_or_damaged_is_computed_again(files, stopped):
    whole = done("whole.npz")
    for harm in (Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:300])):
        stopped(3, "run.npz")
        harm(sorted(Path("run.npz.parts").glob("points-*"))[1])
        assert done("run.npz", "--resume") == whole


def test_resume_without_an_earlier_run_begins_one(files):
    assert done("run.npz", "--resume") == done("whole.npz")


def test_without_resume_finished_points_are_neither_used_nor_lost(files, stopped):
    stopped(2, "run.npz")
    before = {path: path.read_bytes() for path in Path("run.npz.parts").iterdir()}
    result = run("run.npz")
    assert result.exit_code == 2
    assert the_line(result.stderr) == (
        f"certimetric: error: --out: run.npz.parts has {KEPT} finished points of a run that was stopped. "
        "Add --resume to go on from there, or remove that folder to begin again.\n"
    )
    assert {path: path.read_bytes() for path in Path("run.npz.parts").iterdir()} == before
    shutil.rmtree("run.npz.parts")
    done("run.npz")


def test_a_run_that_was_stopped_before_anything_was_finished_leaves_nothing(files, stopped):
    result = stopped(0, "run.npz")
    assert (result.exit_code, result.stderr) == (130, "certimetric: interrupted\n")
    assert [path.name for path in files.iterdir()] == ["data.npz"]


def test_what_others_put_into_the_folder_stays(files):
    Path("run.npz.parts").mkdir()
    Path("run.npz.parts/mine.txt").write_text("mine")
    assert run("run.npz").exit_code == 0
    assert [path.name for path in Path("run.npz.parts").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (("-k", 5), "n_neighbors was 3 and is 5"),
        (("--rule", "majority"), "rule was plurality and is majority"),
        (("--eps", "0.5"), "eps was None and is [0.5]"),
        (("--point-time-limit", 2), "point_time_limit was None and is 2.0"),
        (("--limit", 100), "other test data"),
        (("--seed", 3), "other test data"),
        (("--scale", "minmax"), "other training data; other test data"),
        (("--metric", "covariance"), "metric was Euclidean and is "),
    ],
)
def test_another_run_is_not_gone_on_with(files, stopped, options, difference):
    stopped(2, "run.npz")
    result = run("run.npz", "--resume", *options)
    assert result.exit_code == 2
    assert f"run.npz.parts is of another run: {difference}" in the_line(result.stderr)
    assert Parts(Path("run.npz.parts")).count() == KEPT


def test_another_version_does_not_go_on(files, stopped):
    stopped(2, "run.npz")
    origin = Path("run.npz.parts/run.json")
    origin.write_text(origin.read_text().replace(f'"{cm.__version__}"', '"0.0.1"'))
    error = the_line(run("run.npz", "--resume").stderr)
    assert f"version of certimetric was 0.0.1 and is {cm.__version__}" in error
    origin.write_text("{")
    assert "run.json: cannot be read" in the_line(run("run.npz", "--resume").stderr)


def test_points_that_ran_out_of_time_are_not_kept(files, stopped):
    result = stopped(2, "run.npz", "--time-limit", 0)
    assert (result.exit_code, result.stderr) == (130, "certimetric: interrupted\n")
    done("run.npz", "--time-limit", 0)
    assert (cm.load_certification("run.npz").status == "unfinished").all()


def test_seconds_are_written_on_request_and_are_those_of_all_parts(files, stopped):
    done("plain.parquet")
    plain = cm.load_certification("plain.parquet")
    assert (plain.seconds, plain.run.elapsed) == (None, None)
    assert "time" not in plain.summary()
    stopped(2, "run.parquet")
    before = sum(cm.load_certification(path).run.elapsed for path in Path("run.parquet.parts").glob("*.npz"))
    done("run.parquet", "--resume", "--times")
    timed = cm.load_certification("run.parquet")
    assert timed.run.elapsed > before > 0
    assert (timed.seconds > 0).all()
    np.testing.assert_array_equal(timed.lower, plain.lower)
    assert "ms a point" in timed.summary()


@pytest.mark.parametrize("option", ["--resume", "--times"])
def test_options_about_the_file_need_one(files, option):
    result = CliRunner().invoke(app, ["certify", "--train", "data.npz", option])
    assert result.exit_code == 2
    assert the_line(result.stderr) == f"certimetric: error: {option} is about the file that --out names.\n"


def test_ctrl_c_while_options_are_read_is_one_line(files, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperCommand.make_context", stop)
    result = run("run.npz")
    assert (result.exit_code, result.stderr) == (130, "certimetric: interrupted\n")


def limited(size, *arguments):
    """The command where no file may be larger than some bytes: as on a full disk, writing fails half-way."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    code += "from certimetric.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_a_result_that_outgrows_the_disk_leaves_the_old_one_and_the_parts(files):
    Path("run.npz").write_text("old")
    result = limited(17_000, *command("run.npz"))
    assert result.returncode == 2
    assert the_line(result.stderr) == (
        f"certimetric: error: run.npz: cannot be written: File too large. {POINTS} finished points are kept "
        "in run.npz.parts; the same command with --resume goes on from there.\n"
    )
    assert f"Certification of {POINTS} points" in result.stdout
    assert Path("run.npz").read_text() == "old"
    assert drafts() == []
    assert done("run.npz", "--resume") == done("whole.npz")


def in_a_mount(options, *arguments):
    """The command in a folder ``mounted`` that has a small disk of its own, then a list of what is there."""
    script = (
        f'mount -t tmpfs -o {options} none mounted && "$@"; code=$?; find mounted -mindepth 1; exit $code'
    )
    if shutil.which("unshare") is None or sys.platform != "linux":
        pytest.skip("mounts of its own need Linux's unshare")
    Path("mounted").mkdir()
    wrapped = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*wrapped, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no mounts of its own")
    process = [*wrapped, sys.executable, "-m", "certimetric", *arguments]
    return subprocess.run(process, capture_output=True, text=True, check=False)


def test_a_full_disk_leaves_no_part_of_a_result(files):
    result = in_a_mount("size=16k", *command("mounted/run.npz"))
    assert result.returncode == 2
    assert "cannot be written: No space left on device." in the_line(result.stderr)
    found = [line for line in result.stdout.splitlines() if line.startswith("mounted/")]
    assert "mounted/run.npz" not in found
    assert not [name for name in found if ".certimetric-" in name]


@pytest.mark.slow
def test_a_disk_that_is_read_only_is_noticed_before_any_work(files):
    result = in_a_mount("ro", *command("mounted/run.npz"))
    assert result.returncode == 2
    assert result.stdout == ""
    expected = "--out: mounted/run.npz cannot be written: Read-only file system."
    assert the_line(result.stderr) == f"certimetric: error: {expected}\n"


def test_a_folder_without_permission_is_one_line(files, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(Path, "mkdir", refused)
    result = run("run.npz")
    assert result.exit_code == 2
    assert the_line(result.stderr) == (
        "certimetric: error: run.npz.parts: cannot be made: Permission denied.\n"
    )


def test_a_folder_that_is_a_file_is_one_line(files):
    for name in ("data.npz/run.npz", "data.npz/run/run.npz"):
        assert f"the folder {Path(name).parent} does not exist" in the_line(run(name).stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_is_written_in_place_and_may_be_full(files):
    result = CliRunner().invoke(app, ["predict", "--train", "data.npz", "--out", "/dev/full"])
    assert result.exit_code == 2
    assert the_line(result.stderr) == (
        "certimetric: error: /dev/full: cannot be written: No space left on device.\n"
    )
    Path("run.csv").symlink_to("/dev/full")
    result = run("run.csv")
    assert "run.csv: cannot be written: No space left on device. 150 finished points" in the_line(
        result.stderr
    )
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("suffix", ["parquet", "npz", "csv", "json"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_saving_replaces_a_file_at_once_or_not_at_all(certification, tmp_path, monkeypatch, suffix, error):
    def fail(number):
        raise error

    path = tmp_path / f"run.{suffix}"
    path.write_text("old")
    with monkeypatch.context() as patch:
        # The moment before the name is taken, when all is written.
        patch.setattr(os, "fsync", fail)
        with pytest.raises((OutputError, KeyboardInterrupt)):
            certification.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    certification.save(path)
    assert path.read_bytes() != b"old"


def test_saving_where_there_is_no_folder_names_the_file(certification, tmp_path):
    with pytest.raises(OutputError, match=r"no/run.npz: cannot be written: No such file or directory"):
        certification.save(tmp_path / "no" / "run.npz")


def test_a_link_stays_a_link_and_the_usual_permissions_apply(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    link.symlink_to(real)
    write_text(link, "a\r\nb\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"a\r\nb\n"
    plain = tmp_path / "plain.txt"
    plain.touch()
    assert real.stat().st_mode == plain.stat().st_mode


def test_a_block_that_fails_leaves_no_draft(tmp_path):
    def fail():
        with writing(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_two_results_of_the_same_question_have_the_same_bytes(classifier, digits, tmp_path):
    for suffix in ("parquet", "npz", "csv", "json"):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            classifier.certify(digits[2]).without_times().save(path)
        first, second = (path.read_bytes() for path in paths)
        assert first == second
    text = json.loads((tmp_path / "a.json").read_text())
    assert "seconds" not in text["points"]
    assert text["run"]["elapsed"] is None
