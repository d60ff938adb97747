"""The command line: what it prints and writes, its exit codes, its one-line errors."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

import certimetric as cm
from certimetric._cli_app import app
from certimetric._cli_work import Search
from certimetric._curve import nice_radii
from certimetric._question import DEFAULT_MEMORY


@pytest.fixture
def files(tmp_path, rng):
    """A small npz with both halves, and the same halves as CSV."""
    labels = np.repeat([0, 1], 20)
    rows = rng.normal(size=(40, 4)) + 3.0 * labels[:, None]
    order = rng.permutation(40)
    parts = {"X_train": rows[order[:30]], "y_train": labels[order[:30]]}
    parts |= {"X_test": rows[order[30:]], "y_test": labels[order[30:]]}
    np.savez(tmp_path / "data.npz", **parts)
    for half in ("train", "test"):
        table = np.c_[parts[f"X_{half}"], parts[f"y_{half}"]]
        np.savetxt(tmp_path / f"{half}.csv", table, delimiter=",", fmt="%.17g")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def expected(files, n_neighbors=1, **options):
    with np.load(files / "data.npz") as archive:
        data = dict(archive)
    model = cm.CertifiedKNeighborsClassifier(n_neighbors).fit(data["X_train"], data["y_train"])
    return model.certify(data["X_test"], data["y_test"], **options)


def table_of(result):
    """The numbers of the printed table, one tuple a row."""
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if "│" in line]
    return [tuple(float(cell) for cell in line.strip("│ ").split("│")) for line in lines]


def test_certify_prints_the_table(files):
    result = run("certify", "--train", files / "data.npz", "--eps", "0,0.5,1e9", "--quiet")
    shares = expected(files).certified_error([0, 0.5, 1e9])
    np.testing.assert_allclose(table_of(result), np.c_[[0, 0.5, 1e9], shares], atol=5e-5)
    assert "ms a point" in result.stdout


@pytest.mark.parametrize("rule", ["plurality", "majority"])
@pytest.mark.parametrize("k", [3, 4])
def test_several_neighbors_are_certified_like_one(files, k, rule):
    out = files / "run.parquet"
    result = run("certify", "--train", files / "data.npz", "-k", k, "--rule", rule, "--out", out, "-q")
    table, found, cert = table_of(result), cm.load_certification(out), expected(files, k, rule=rule)
    np.testing.assert_array_equal(found.lower, cert.lower)
    np.testing.assert_array_equal(found.nodes, cert.nodes)
    assert (found.run.n_neighbors, found.run.rule, found.run.eps) == (k, rule, None)
    for radius, robust, error in table:
        assert robust == pytest.approx(cert.certified_accuracy(radius), abs=5e-5)
        assert error == pytest.approx(cert.certified_error(radius), abs=5e-5)
    assert f"{k}-nearest neighbours, {rule} rule" in result.stdout
    assert "100.0% of the radii proven" in result.stdout


@pytest.mark.parametrize("radii", [[0.8], [0.0, 0.4, 0.8, 1.6, 1e9], [1.6, 0.4], [0.0]])
def test_questions_about_some_radii_give_the_shares_of_the_exact_run(files, radii):
    out = files / "run.parquet"
    result = run(
        "certify",
        "--train",
        files / "data.npz",
        "-k",
        5,
        "--eps",
        ",".join(map(str, radii)),
        "--out",
        out,
        "-q",
    )
    table, cert, found = table_of(result), expected(files, 5), cm.load_certification(out)
    shares = np.c_[radii, cert.certified_accuracy(radii), cert.certified_error(radii)]
    np.testing.assert_allclose([row[:3] for row in table], shares, atol=5e-5)
    np.testing.assert_array_equal(found.attack_error(radii), cert.attack_error(radii))
    assert (found.lower <= cert.upper).all()
    assert (found.upper >= cert.lower).all()
    assert found.run.asked == (tuple(sorted(radii)) if any(radii) else ())
    np.testing.assert_array_equal(found.predicted, cert.predicted)


@pytest.mark.parametrize(
    "options", [("-k", 1), ("-k", 5, "--method", "bound"), ("-k", 5, "--method", "attack")]
)
def test_radii_of_the_table_change_no_end_where_there_is_no_search_for_them(files, options):
    out = files / "run.npz"
    source = ("certify", "--train", files / "data.npz", "--out", out, "-q", *options)
    plain, ends = run(*source), cm.load_certification(out)
    asked, found = run(*source, "--eps", "0,0.4,0.8"), cm.load_certification(out)
    assert [row[0] for row in table_of(asked)] == [0, 0.4, 0.8]
    np.testing.assert_array_equal(found.lower, ends.lower)
    np.testing.assert_array_equal(found.upper, ends.upper)
    assert (ends.run.eps, found.run.eps) == (None, (0.0, 0.4, 0.8))
    (line,) = (line for line in plain.stdout.splitlines() if "median" in line)
    assert line in asked.stdout


def test_table_tells_the_share_of_points_that_are_decided_where_it_is_not_all(files):
    source = ("certify", "--train", files / "data.npz", "-k", 5, "-q", "--method", "bound")
    cert = expected(files, 5, method="bound")
    radii = np.array([0.5, 2.5])
    decided = ((cert.lower > radii[:, None]) | (cert.upper <= radii[:, None])).mean(axis=1)
    assert 0 < decided[1] < decided[0]
    result = run(*source, "--eps", "0.5,2.5")
    assert "decided" in result.stdout
    np.testing.assert_allclose([row[-1] for row in table_of(result)], decided, atol=5e-5)
    assert "decided" not in run(*source).stdout
    assert "decided" not in run(*source[:-2], "--eps", "0.5,2.5").stdout


def test_pictures_of_examples_ask_for_the_radii_themselves(files):
    out = files / "run.parquet"
    result = run(
        "certify", "--train", files / "data.npz", "-k", 5, "--eps", "0.4,0.8", "--out", out,
        "--examples", files / "gallery.png", "--shape", "2x2", "-q",
    )  # fmt: skip
    assert [row[0] for row in table_of(result)] == [0.4, 0.8]
    np.testing.assert_array_equal(cm.load_certification(out).lower, expected(files, 5).lower)
    assert (files / "gallery.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--point-node-limit", 0),
        ("--node-limit", 3),
        ("--point-node-limit", 0, "--eps", "0.1,0.2"),
        ("--max-memory", "0"),
        ("--max-memory", "64MiB", "--eps", "0.1,0.2"),
        ("--point-time-limit", 0),
        ("--time-limit", 1e-9),
        ("--time-limit", 0),
        ("--time-limit", 0, "--eps", "0.1,0.2"),
        ("--method", "bound"),
        ("--method", "attack", "--eps", "0.1,0.2"),
    ],
)
def test_limits_and_methods_reach_the_search(files, options):
    out = files / "run.parquet"
    result = run("certify", "--train", files / "data.npz", "-k", 5, "--out", out, "-q", *options)
    assert result.exit_code == 0, result.output
    found, cert = cm.load_certification(out), expected(files, 5)
    assert (found.lower <= cert.upper).all()
    assert (found.upper >= cert.lower).all()
    if "--method" in options:
        assert not found.nodes.any()
    assert ("unfinished" in found.status) == ("--time-limit" in options or "--node-limit" in options)
    assert found.run.method == (options[1] if "--method" in options else "exact")


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("suffix", ["npz", "parquet", "csv", "json"])
def test_a_run_without_any_time_is_reported_and_written(files, k, suffix):
    out, plot = files / f"run.{suffix}", files / "curve.png"
    result = run(
        "certify", "--train", files / "data.npz", "-k", k, "--time-limit", 0,
        "--out", out, "--plot", plot, "-q",
    )  # fmt: skip
    assert all(row[-2:] == (1.0, 0.0) for row in table_of(result))
    assert "100.0% unfinished" in result.stdout
    assert "clean error    unknown" in result.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    if suffix in ("npz", "parquet"):
        assert cm.load_certification(out).upper.tolist() == [np.inf] * 10
    if suffix == "json":
        assert json.loads(out.read_text())["points"]["predicted"] == [None] * 10


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("300", 300),
        ("300B", 300),
        ("256MB", 256 * 10**6),
        ("256 mb", 256 * 10**6),
        ("256MiB", 2**28),
        ("2GiB", 2**31),
        ("5kB", 5000),
        ("1TB", 10**12),
        ("1kib", 1024),
    ],
)
def test_memory_is_a_number_with_a_unit(text, size):
    assert Search(max_memory=text).arguments()["max_memory"] == size


def test_memory_is_as_much_as_in_python_if_not_given():
    assert Search().arguments()["max_memory"] == DEFAULT_MEMORY == 256 * 2**20


def test_test_labels_that_training_has_not_are_misclassified(files):
    np.savez(files / "one.npz", X_train=np.eye(4), y_train=[0] * 4)
    result = run("certify", "--train", files / "one.npz", "--test", files / "test.csv", "--quiet")
    assert result.exit_code == 0, result.output
    assert "misclassified" in result.stdout


@pytest.mark.parametrize("suffix", ["parquet", "npz", "csv", "json"])
def test_certify_writes_the_result(files, suffix):
    out = files / f"run.{suffix}"
    result = run(
        "certify", "--train", files / "train.csv", "--test", files / "test.csv", "--out", out, "--quiet"
    )
    assert result.exit_code == 0, result.output
    lower = expected(files).lower
    if suffix in ("parquet", "npz"):
        np.testing.assert_array_equal(cm.load_certification(out).lower, lower)
    elif suffix == "json":
        np.testing.assert_array_equal(json.loads(out.read_text())["points"]["lower"], lower)
    else:
        assert [float(line.split(",")[0]) for line in out.read_text().splitlines()[1:]] == lower.tolist()


def test_certify_draws_pictures(files):
    result = run(
        "certify", "--train", files / "data.npz", "--plot", files / "curve.png",
        "--examples", files / "gallery.png", "--shape", "2x2", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for name in ("curve.png", "gallery.png"):
        assert (files / name).read_bytes().startswith(b"\x89PNG")


def test_limit_takes_the_first_points_of_the_shuffled_test_set(files):
    from sklearn.utils import shuffle

    out = files / "run.json"
    run("certify", "--train", files / "data.npz", "--limit", 4, "--seed", 42, "--out", out, "--quiet")
    chosen = shuffle(np.arange(10), random_state=42)[:4]
    np.testing.assert_array_equal(
        json.loads(out.read_text())["points"]["lower"], expected(files).lower[chosen]
    )


def test_scaling_and_metric_are_applied(files):
    np.savez(files / "m.npz", G=np.diag([1.0, 2.0, 3.0, 4.0]))
    for metric in (files / "m.npz", "covariance"):
        out = files / "run.parquet"
        result = run(
            "certify",
            "--train",
            files / "data.npz",
            "--scale",
            "minmax",
            "--metric",
            metric,
            "--out",
            out,
            "-q",
        )
        assert result.exit_code == 0, result.output
        with np.load(files / "data.npz") as archive:
            data = dict(archive)
        low, span = data["X_train"].min(0), np.ptp(data["X_train"], axis=0)
        rows, points = (data["X_train"] - low) / span, (data["X_test"] - low) / span
        resolved = cm.Mahalanobis.from_components(np.diag([1.0, 2.0, 3.0, 4.0]))
        if metric == "covariance":
            resolved = cm.Mahalanobis.from_covariance(rows)
        model = cm.CertifiedKNeighborsClassifier(metric=resolved).fit(rows, data["y_train"])
        cert = model.certify(points, data["y_test"])
        np.testing.assert_array_equal(cm.load_certification(out).lower, cert.lower)


def test_predict_writes_one_label_a_line(files):
    result = run("predict", "--train", files / "data.npz", "-k", 3)
    assert result.exit_code == 0
    with np.load(files / "data.npz") as archive:
        data = dict(archive)
    model = cm.CertifiedKNeighborsClassifier(3).fit(data["X_train"], data["y_train"])
    assert result.stdout.split() == [str(label) for label in model.predict(data["X_test"])]
    run("predict", "--train", files / "data.npz", "-k", 3, "--out", files / "labels.txt")
    assert (files / "labels.txt").read_text().split() == result.stdout.split()


def test_demo_prints_the_table_and_draws(tmp_path):
    result = run("demo", "--plot", tmp_path / "demo.png", "--quiet")
    assert result.exit_code == 0, result.output
    assert "ms a point" in result.stdout
    assert "certified error" in " ".join(result.stdout.split())
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert (tmp_path / "demo-examples.png").exists()


def test_info_tells_versions_and_contents(files):
    assert "core simd" in run("info").stdout
    assert "X_train: shape (30, 4), float64" in run("info", files / "data.npz").stdout
    assert "30 rows, 4 features" in run("info", files / "train.csv").stdout
    for name in ("run.parquet", "run.npz"):
        expected(files).save(files / name)
        assert "Certification of 10 points" in run("info", files / name).stdout
    assert run("--version").stdout.strip() == cm.__version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "none.npz"), "none.npz: no such file"),
        (("--train", "folder.npz"), "folder.npz: is a directory"),
        (("--train", "data.npz", "--out", "folder.csv"), "--out: folder.csv is a directory"),
        (("--train", "continuous.npz"), "labels must be text or whole numbers, but row 2 has 0.5"),
        (
            ("--train", "text.csv", "--test", "test.csv"),
            "test data test.csv must have text for labels, as the classifier has; got ",
        ),
        (("--train", "data.npz", "--test", "header.csv"), "header.csv: has a header, but no rows"),
        (("--train", "data.npz", "--limit", "x"), "'--limit'"),
        (("--train", "data.npz", "--limit", "0"), "'--limit'"),
        (("--train", "data.npz", "--limit", "-1"), "'--limit'"),
        (("--train", "data.npz", "--limit"), "'--limit' requires an argument"),
        (("--train", "data.npz", "--seed", "4294967296"), "'--seed'"),
        (("--train", "data.npz", "--scale", "max"), "'--scale'"),
        (("--train", "data.npz", "--frobnicate"), "--frobnicate"),
        (("--train", "data.npz", "more"), "unexpected extra argument"),
        ((), "Missing option '--train'"),
        (("--train", "train.csv"), "has no X_test, so --test must name a file"),
        (("--train", "data.npz", "--eps", "0;1"), "--eps must be numbers separated by commas"),
        (("--train", "data.npz", "--eps", "-1"), "--eps must be at least 0"),
        (
            ("--train", "data.npz", "--out", "run.pkl"),
            "--out must end in .parquet, .npz, .csv, .json; got 'run.pkl'",
        ),
        (("--train", "data.npz", "--plot", "no/such.png"), "--plot: the folder no does not exist"),
        (("--train", "data.npz", "--shape", "28"), "--shape must be such as 28x28"),
        (("--train", "data.npz", "--shape", "2x1x2"), "--shape must be such as 28x28 or 32x32x3"),
        (("--train", "data.npz", "--examples", "a.png"), "--shape: 28x28 is not 4 pixels"),
        (("--train", "data.npz", "-k", "31"), "error: --neighbors must be at most n_samples = 30, got 31"),
        (("--train", "data.npz", "-k", "2.5"), "'--neighbors'"),
        (("--train", "data.npz", "--method", "fast"), "'--method'"),
        (("--train", "data.npz", "--rule", "unanimity"), "'--rule'"),
        (("--train", "data.npz", "--node-limit", "-1"), "'--node-limit'"),
        (("--train", "data.npz", "--node-limit", "1.5"), "'--node-limit'"),
        *(
            (("--train", "data.npz", f"--max-memory={size}"), f"such as 256MB; got {size!r}")
            for size in ("-1", "1.5GB", "256M", "MB", "1e6", "1 0", "")
        ),
        (
            ("--train", "data.npz", "--point-time-limit", "-1"),
            "error: --point-time-limit must be at least 0 and not NaN, got -1",
        ),
        (("--train", "data.npz", "-k", "3", "--eps", "0.1,nan"), "--eps must be at least 0 and not NaN"),
        (("--train", "data.npz", "-k", "3", "--eps", "0.1,inf"), "--eps must be finite"),
        (("--train", "data.npz", "-k", "0"), "error: --neighbors must be at least 1, got 0"),
        (("--train", "data.npz", "--jobs", "0"), "error: --jobs must not be 0"),
        (
            ("--train", "data.npz", "--metric", "cosine"),
            "a file, as `certimetric learn` writes; there is no file 'cosine'",
        ),
        (("--train", "data.npz", "--time-limit", "-1"), "error: --time-limit must be at least 0 and not"),
        (("--train", "data.npz", "--time-limit", "nan"), "error: --time-limit must be at least 0 and not"),
        (("--train", "data.npz", "--x-key", "Z"), "has no array 'Z'; it has X_train"),
        (
            ("--train", "data.npz", "--label", "y"),
            "--label names the label column of a csv or parquet, but the data is npz",
        ),
        (
            ("--train", "train.csv", "--test", "test.csv", "--x-key", "X"),
            "--x-key names the features in an npz, but the data is csv",
        ),
        (
            ("--train", "train.csv", "--test", "a.svm", "--y-key", "y"),
            "--y-key names the labels in an npz, but the data is csv and libsvm",
        ),
        (("--train", "data.npz", "--test", "wide.csv"), "X has 6 features, but 4 are expected"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    np.savetxt("wide.csv", np.ones((2, 7)), delimiter=",")
    (files / "header.csv").write_text("a,b,c,d,label\n")
    for folder in ("folder.npz", "folder.csv"):
        (files / folder).mkdir()
    np.savez("continuous.npz", X_train=np.eye(2), y_train=[1.0, 0.5], X_test=np.eye(2))
    (files / "text.csv").write_text("a,b,c,d,label\n0,0,0,0,near\n9,9,9,9,far\n")
    result = run("certify", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("certimetric: error: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ("predict", "--train", "data.npz", "-k", "99"),
            "--neighbors must be at most n_samples = 30, got 99",
        ),
        (("predict", "--train", "data.npz", "--jobs", "0"), "--jobs must not be 0"),
        (("predict", "--train", "data.npz", "--label", "y"), "--label names the label column"),
        (("demo", "--jobs", "0"), "--jobs must not be 0"),
    ],
)
def test_other_commands_name_the_option_too(files, monkeypatch, command, message):
    monkeypatch.chdir(files)
    result = run(*command)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"certimetric: error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_a_name_is_taken_for_the_one_file_that_has_a_use_for_it(files):
    (files / "named.csv").write_text("label,a,b,c,d\n0,0,0,0,0\n1,9,9,9,9\n")
    result = run("predict", "--train", files / "named.csv", "--test", files / "data.npz", "--label", "label")
    assert result.exit_code == 0, result.output


def test_without_a_command_there_is_help_and_exit_code_two():
    result = run()
    assert result.exit_code == 2
    assert "certify" in result.stderr
    assert len(run("frobnicate").stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["certify", "demo"])
def test_the_seed_has_one_name_in_help_and_report(files, command):
    usage = " ".join(run(command, "--help").stdout.split())
    assert "with this seed" in usage
    assert "--shuffle-seed" not in usage
    source = ["--train", files / "data.npz"] if command == "certify" else ["--plot", files / "a.png"]
    report = " ".join(run(command, *source, "--seed", "7", "--quiet").stdout.split())
    assert "seed 7" in report


def test_one_class_has_infinite_radii(files):
    np.savez(files / "one.npz", X_train=np.eye(2), y_train=[0, 0], X_test=np.eye(2))
    result = run("certify", "--train", files / "one.npz", "--quiet")
    assert result.exit_code == 0, result.output
    assert "median inf" in result.stdout


def test_the_result_is_written_though_the_reader_of_the_pipe_has_gone(files):
    arguments = ["certify", "--train", files / "data.npz", "--out", files / "run.csv", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "certimetric", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=60) == -signal.SIGPIPE
    assert len((files / "run.csv").read_text().splitlines()) == 11


def test_the_table_is_printed_though_the_result_cannot_be_written(files, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("certimetric._tables._save_csv", full)
    result = run("certify", "--train", files / "data.npz", "--out", files / "run.csv", "--quiet")
    assert result.exit_code == 2
    assert "Certification of 10 points" in result.stdout
    assert result.stderr == "certimetric: error: no space left\n"


def test_defects_exit_with_one_and_keep_their_traceback(files, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("certimetric._cli_work.prepare", broken)
    result = run("certify", "--train", files / "data.npz")
    assert result.exit_code == 1
    assert "internal error: ZeroDivisionError: oops" in result.stderr
    assert "Traceback" in result.stderr


def test_missing_typer_names_the_extra():
    code = "import sys; sys.modules['typer'] = None; from certimetric.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'certimetric[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """The arguments of a command that takes hours."""
    rng = np.random.default_rng(0)
    rows, file = rng.normal(size=(3000, 60)), tmp_path_factory.mktemp("endless") / "big.npz"
    labels = rng.integers(0, 2, 3000)
    np.savez(file, X_train=rows, y_train=labels, X_test=np.tile(rows, (60, 1)) + 0.01)
    return ["certify", "--train", str(file), "-k", "11"]


def interrupted(command, seconds):
    """What a command says and how it ends when Ctrl-C comes some time after it has begun to listen."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stderr.readline() == "begun\n"
        time.sleep(seconds)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors


# A handle on the moment in which main runs, and no import but that of the entry point before it.
BEGIN = """
import sys
from certimetric import cli
assert "numpy" not in sys.modules
load = cli._load
def listening():
    print("begun", file=sys.stderr, flush=True)
    return load()
cli._load = listening
cli.main()
"""


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 4.0])
def test_interrupt_exits_with_130(endless, seconds):
    code, errors = interrupted([sys.executable, "-c", BEGIN, *endless], seconds)
    assert code == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors


def test_interrupt_before_a_command_has_begun_exits_with_130():
    code = """
from certimetric import _cli_app, cli
def stop():
    raise KeyboardInterrupt
_cli_app.versions = stop
cli.main()
"""
    command = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "certimetric: interrupted\n"


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "certimetric"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == cm.__version__
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize("largest", [1e-8, 0.03, 0.9, 7.0, 1e5])
def test_radii_of_the_table_are_round_and_reach_the_data(classifier, digits, largest):
    from dataclasses import replace

    cert = classifier.certify(digits[2][:5])
    scaled = replace(
        cert, lower=cert.lower * largest / cert.upper.max(), upper=cert.upper * largest / cert.upper.max()
    )
    radii = nice_radii(scaled)
    assert radii[0] == 0
    assert 0.5 * largest <= radii[-1] <= 2.5 * largest
    assert all(len(f"{radius:g}") <= 7 for radius in radii)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_radii_of_the_table_reach_the_bounds_where_many_points_are_wrong(classifier, digits, share):
    from dataclasses import replace

    cert = classifier.certify(digits[2][:40])
    wrong = np.arange(len(cert)) < share * len(cert)
    bounded = replace(cert, lower=np.where(wrong, 0, cert.lower), upper=np.where(wrong, 0, np.inf))
    radii = nice_radii(bounded)
    assert 0.3 * bounded.lower.max() <= radii[-1] <= 2.5 * bounded.lower.max()
