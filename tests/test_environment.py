"""What other libraries and variables do to a process: the mode of its arithmetic, numbers of threads."""

import ctypes
import hashlib
import mmap
import os
import platform
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import certimetric as cm
from certimetric.certificate import Verifier

_ROUNDING = {"x86_64": (0x400, 0x800, 0xC00), "aarch64": (0x800000, 0x400000, 0xC00000)}
"""FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO."""

_FLUSHING = {"flush-to-zero": 0x8000, "denormals-are-zero": 0x0040, "both": 0x8040}
"""Bits of MXCSR."""

_SUBNORMAL = np.full(2, 5e-324)


@contextmanager
def rounding(mode):
    """The thread rounds as ``fesetround`` has it."""
    libm = ctypes.CDLL(None)
    if libm.fesetround(mode):
        pytest.skip("this system has no such rounding")
    try:
        yield
    finally:
        libm.fesetround(0)


@contextmanager
def flushing(bits):
    """The thread takes subnormal numbers for zero: LDMXCSR and RET, in memory that may run."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("0fae17 c3"))
    load = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    usual, other = ctypes.c_uint32(0x1F80), ctypes.c_uint32(0x1F80 | bits)
    load(ctypes.addressof(other))
    try:
        yield
    finally:
        load(ctypes.addressof(usual))


def is_usual():
    """Whether the calling thread's arithmetic is the usual one, as NumPy sees it."""
    one, half = np.ones(2), np.full(2, 2.0**-53)
    nearest = (one + half == 1).all() and (-one - half == -1).all() and (one + 1.5 * half > 1).all()
    return bool(nearest and (_SUBNORMAL * 1.0 > 0).all() and (np.full(2, 2.0**-1022) / 2 != 0).all())


MODES = [
    pytest.param(rounding, mode, id=f"fesetround-{mode:#x}") for mode in _ROUNDING.get(platform.machine(), ())
]
if platform.machine() == "x86_64" and os.name == "posix":
    MODES += [pytest.param(flushing, bits, id=name) for name, bits in _FLUSHING.items()]


def data(scale=1.0):
    rng = np.random.default_rng(5)
    labels = np.arange(400) % 3
    return (rng.normal(size=(400, 12)) + 0.5 * labels[:, None]) * scale, labels


def answers(rows, labels, components=None, matrix=None):
    """All that the core computes, as bytes: comparing numbers would be arithmetic."""
    X, y, Z, t = rows[:300], labels[:300], rows[300:], labels[300:]
    metric = "euclidean" if components is None else cm.Mahalanobis.from_components(components)
    metric = metric if matrix is None else cm.Mahalanobis.from_matrix(matrix)
    found = []
    for k in (1, 5):
        model = cm.CertifiedKNeighborsClassifier(k, metric=metric, n_jobs=2).fit(X, y)
        for method in ("exact", "bound", "attack"):
            cert = model.certify(Z, t, method=method, return_adversarial=True).without_times()
            found += cert.to_dict().values()
        found += model.kneighbors(Z)
    found += [cm.pairwise_distances(X, Z, metric=metric), cm.triplet_radius(Z, X[:100], X[100:200], metric)]
    if metric != "euclidean":
        found.append(np.array(metric.spectral_norm_bound))
    return [np.ascontiguousarray(array).tobytes() for array in found]


@pytest.mark.parametrize("scale", [1.0, 1e-307])
@pytest.mark.parametrize("given_by", ["nothing", "components", "matrix"])
@pytest.mark.parametrize(("setting", "value"), MODES)
def test_another_mode_of_the_caller_changes_no_bit(setting, value, given_by, scale):
    g = np.random.default_rng(6).normal(size=(7, 12))
    metrics = {"nothing": (), "components": (g,), "matrix": (None, g.T @ g)}
    given = *data(scale), *metrics[given_by]
    usual = answers(*given)
    with setting(value):
        was_usual = is_usual()
        found = answers(*given)
        is_kept = not is_usual()
    assert not was_usual, "the mode must be another one for this test to say anything"
    assert is_kept, "the caller's mode is the caller's"
    assert is_usual()
    assert found == usual


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("setting", "value"), MODES)
def test_the_checker_refuses_in_another_mode(setting, value, plain):
    rows, labels = data()
    model = cm.CertifiedKNeighborsClassifier(3).fit(rows[:60], labels[:60])
    (line,) = model.certify(rows[60:61], return_certificates=True).certificates
    verifier = Verifier(rows[:60], labels[:60], plain=plain)
    assert verifier.verify(line)
    with setting(value):
        verdict = verifier.verify(line)
        with pytest.raises(ValueError, match="another library"):
            Verifier(rows[:60], labels[:60], plain=plain)
    assert "another library has changed" in verdict.reason
    assert verifier.verify(line)


def digest(*given):
    return hashlib.sha256(b"".join(answers(*given))).hexdigest()


PRINT = """
import sys
sys.path.insert(0, {folder!r})
import test_environment
given = test_environment.data()
{before}
print(test_environment.is_usual(), test_environment.digest(*given))
"""


def elsewhere(before="", **variables):
    """Whether another process computes as usual, and its answers."""
    code = PRINT.format(folder=str(Path(__file__).parent), before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    usual, found = done.stdout.split()
    return usual == "True", found


def test_a_library_built_for_fast_arithmetic_changes_no_bit(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "fast.c", tmp_path / "fast.so"
    source.write_text("int fast;\n")
    built = [compiler, "-shared", "-fPIC", "-ffast-math", str(source), "-o", str(library)]
    if subprocess.run(built, capture_output=True, check=False).returncode:
        pytest.skip("the compiler makes no shared library")
    usual, found = elsewhere(f"import ctypes; ctypes.CDLL({str(library)!r})")
    if usual:
        pytest.skip("libraries of this compiler leave the mode alone")
    assert found == digest(*data())


def test_variables_about_threads_change_no_bit():
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert elsewhere(**dict.fromkeys(names, "3")) == (True, digest(*data()))
