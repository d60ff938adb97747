"""Threads, processes, forks, joblib: the same answers; Ctrl-C stops; a time limit leaves valid intervals."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import pytest

import certimetric as cm

# The parent may hold threads of other libraries; a forked child here runs nothing of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


@pytest.fixture(scope="module")
def work(digits):
    rows, labels, points, _ = digits
    model = cm.CertifiedKNeighborsClassifier(n_jobs=2).fit(rows, labels)
    return model, points, model.certify(points).lower


def certify(model, points):
    return model.certify(points).lower


def test_python_threads_get_the_same_answers(work):
    model, points, lower = work
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: certify(model, points), range(8)):
            np.testing.assert_array_equal(found, lower)


@pytest.fixture(scope="module")
def long_search():
    """Two clouds that overlap: with 21 neighbours this point takes thousands of nodes."""
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(300, 12)), np.arange(300) % 2
    rows[:, 0] += 4 * labels
    points = rng.normal(size=(6, 12))
    points[:, 0] -= 1
    model = cm.CertifiedKNeighborsClassifier(21).fit(rows, labels)
    whole = model.certify(points[5:], n_jobs=2)
    assert whole.nodes[0] > 4000
    assert whole.status[0] == "exact"
    return model, points[5:], whole


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_a_long_search_is_shared_out_without_a_change_of_a_bit(long_search, n_jobs):
    model, point, whole = long_search
    again = model.certify(point, n_jobs=n_jobs)
    for column in ("lower", "upper", "nodes"):
        assert getattr(again, column)[0] == getattr(whole, column)[0]


@pytest.mark.parametrize("n_jobs", [2, 5])
def test_threads_that_help_with_long_searches_change_no_bit(long_search, n_jobs):
    model, point, _ = long_search
    rng = np.random.default_rng(1)
    points = np.vstack(
        [np.repeat(point, 2, axis=0) + 0.01 * rng.normal(size=(2, 12)), rng.normal(size=(30, 12))]
    )
    alone, together = (model.certify(points, n_jobs=jobs) for jobs in (1, n_jobs))
    assert (alone.nodes > 1000).sum() >= 2
    for column in ("lower", "upper", "nodes", "status"):
        np.testing.assert_array_equal(getattr(together, column), getattr(alone, column))


@pytest.mark.parametrize("limit", ["point_node_limit", "node_limit"])
@pytest.mark.parametrize("nodes", [999, 1003, 1500, 3001])
def test_a_node_limit_holds_in_a_search_that_is_shared_out(long_search, limit, nodes):
    model, point, whole = long_search
    part = model.certify(point, n_jobs=2, **{limit: nodes})
    assert part.nodes[0] == nodes
    assert part.status[0] == ("bounded" if limit == "point_node_limit" else "unfinished")
    assert part.lower[0] <= whole.lower[0]
    assert whole.upper[0] <= part.upper[0]


def test_threads_that_meet_an_unpickled_classifier_build_one_index(work, monkeypatch):
    from certimetric import _index

    model, _, _ = work
    cell = model._index.__class__(
        model._index.rows, model._index.codes, model._index.n_classes, model.metric_
    )
    built = []
    original = _index.build_index

    def slow(*arguments):
        built.append(1)
        time.sleep(0.05)
        return original(*arguments)

    monkeypatch.setattr(_index, "build_index", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(cell.get())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert all(index is found[0] for index in found)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_get_the_same_answers(work, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    model, points, lower = work
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for future in [pool.submit(model.certify, points) for _ in range(3)]:
            np.testing.assert_array_equal(future.result(timeout=120).lower, lower)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_child_uses_the_index_of_its_parent(work):
    model, points, lower = work
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, certify(model, points).tobytes())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    np.testing.assert_array_equal(np.frombuffer(content), lower)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_workers_get_the_same_answers(work, backend):
    model, points, lower = work
    tasks = (joblib.delayed(model.certify)(part) for part in np.array_split(points, 4))
    found = joblib.Parallel(n_jobs=2, backend=backend)(tasks)
    np.testing.assert_array_equal(np.concatenate([part.lower for part in found]), lower)


def test_joblib_context_sets_the_number_of_threads():
    from certimetric._validation import effective_jobs

    assert effective_jobs(None) == 1
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert effective_jobs(None) == 3
        assert effective_jobs(2) == 2
    assert effective_jobs(-1) == joblib.cpu_count()


LONG = """
import sys, time, numpy as np, certimetric as cm
rng = np.random.default_rng(0)
rows, labels = rng.normal(size=(4000, 60)), rng.integers(0, 2, 4000)
model = cm.CertifiedKNeighborsClassifier(11, n_jobs=2).fit(rows, labels)
points = np.tile(rows, (50, 1)) + 0.01
print("ready", flush=True)
try:
    model.certify(points)
except KeyboardInterrupt:
    print(repr(time.monotonic()), flush=True)
    sys.exit(7)
"""


def test_interrupt_stops_a_long_run_soon():
    process = subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"
    time.sleep(1.0)
    assert process.poll() is None, "the work must be long enough to be interrupted"
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    # Measured at about a tenth of a second; the bound only tells "stops" from "runs to the end".
    assert float(output) - sent < 2.0


def test_time_limit_is_kept_and_what_is_known_is_right(rng):
    rows, labels = rng.normal(size=(3000, 60)), rng.integers(0, 2, 3000)
    model = cm.CertifiedKNeighborsClassifier().fit(rows, labels)
    points = np.tile(rows, (30, 1)) + 0.01
    cert = model.certify(points, time_limit=0.3)
    done = cert.status != "unfinished"
    assert 0 < done.sum() < len(points)
    assert (cert.lower <= cert.upper).all()
    assert (cert.lower[~done] >= 0).all()
    assert cert.run.elapsed < 30
    some = np.flatnonzero(done)[:20]
    again = model.certify(points[some])
    np.testing.assert_array_equal(cert.lower[some], again.lower)
    np.testing.assert_array_equal(cert.upper[some], again.upper)


@pytest.mark.parametrize("options", [{"time_limit": 0.2}, {"point_time_limit": 0.2}])
@pytest.mark.parametrize("method", ["exact", "bound", "attack"])
def test_a_vote_of_thousands_keeps_its_time(rng, method, options):
    rows, labels = rng.normal(size=(6000, 8)), np.arange(6000) % 2
    rows[labels == 1, 0] += 3
    model = cm.CertifiedKNeighborsClassifier(2501, n_jobs=1).fit(rows, labels)
    point = np.full((1, 8), 0.1)
    started = time.process_time()
    cert = model.certify(point, method=method, **options)
    # Half a second and less; where nothing ends it, parts of the work for so many neighbours take two.
    assert time.process_time() - started < 1.2
    assert cert.lower <= cert.upper


@pytest.mark.parametrize("rule", ["plurality", "majority"])
def test_a_search_that_ends_early_has_proven_more_the_longer_it_was(rule):
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(300, 12)), np.arange(300) % 3
    rows[np.arange(300), labels] += 4
    points = rng.normal(size=(8, 12))
    points[:, 0] += 3
    clf = cm.CertifiedKNeighborsClassifier(11).fit(rows, labels)
    certs = [clf.certify(points, point_node_limit=nodes, rule=rule) for nodes in (1, 20, 60, 10**6)]
    limited = partial(clf.certify, points, point_node_limit=60, rule=rule)
    written = [limited(return_certificates=proofs) for proofs in (False, True)]
    assert (written[1].lower <= written[0].lower).all()
    hard = certs[-1].nodes > 100
    assert hard.sum() >= 2
    lower, upper = (np.array([getattr(cert, end)[hard] for cert in certs]) for end in ("lower", "upper"))
    assert (np.diff(lower, axis=0) > 0).all()
    assert (lower <= upper[-1]).all()
    gaps = (1 - lower / upper).mean(axis=1)
    assert gaps[1] < 0.6 * gaps[0]
    assert gaps[2] < 0.7 * gaps[1]
