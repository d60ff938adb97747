# `make` lists the targets. Needed: Python 3.11 or newer, a Rust toolchain, a C compiler, make.
# The environment is .venv; PYTHON=... picks another interpreter to make it with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .build
SOURCES := Cargo.toml $(wildcard Cargo.lock) pyproject.toml $(shell find src -name '*.rs' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test test-deep test-slow hunt sanitize lint format bench bench-deep docs wheel clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMPS)/venv:
	@mkdir -p $(STAMPS)
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "maturin>=1.9,<2"
	@touch $@

# Builds the core in release mode and installs the package in place: changes of Python files need no rebuild.
$(STAMPS)/build: $(STAMPS)/venv $(SOURCES)
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet --extras test,oracles
	@touch $@

$(STAMPS)/lint: $(STAMPS)/build
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet --extras test,dev
	@touch $@

# All of the library is documented, what needs PyTorch too.
$(STAMPS)/docs: $(STAMPS)/torch
	VIRTUAL_ENV=$(abspath $(VENV))-torch $(BIN)/maturin develop --release --quiet --extras test,torch,docs
	@touch $@

# PyTorch takes gigabytes: it has an environment of its own, beside the one of all else.
$(STAMPS)/torch: $(STAMPS)/build
	$(PYTHON) -m venv $(VENV)-torch
	VIRTUAL_ENV=$(abspath $(VENV))-torch $(BIN)/maturin develop --release --quiet --extras test,torch
	@touch $@

$(STAMPS)/bench-deep: $(STAMPS)/torch
	VIRTUAL_ENV=$(abspath $(VENV))-torch $(BIN)/maturin develop --release --quiet --extras test,torch,bench
	@touch $@

$(STAMPS)/bench: $(STAMPS)/build
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --quiet --extras test,bench
	@touch $@

demo: $(STAMPS)/build  ## Certify a real data set: table, time per point, picture
	$(BIN)/certimetric demo

test: $(STAMPS)/build  ## All fast tests, Rust and Python
	cargo test --release --quiet
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-deep: $(STAMPS)/torch  ## The tests that need PyTorch, in an environment of their own
	OMP_NUM_THREADS=1 $(VENV)-torch/bin/python -m pytest -m "torch and not slow" -n auto --dist worksteal

test-slow: $(STAMPS)/build  ## The slow tests too, with many more random examples
	cargo test --release --quiet -- --include-ignored
	CERTIMETRIC_HYPOTHESIS=balanced $(BIN)/python -m pytest

hunt: $(STAMPS)/build  ## Generated cases against exact arithmetic; ARGS="--cases 1000000 --seed 1", "--help"
	PYTHONPATH=tests OPENBLAS_NUM_THREADS=1 $(BIN)/python -m hunt $(ARGS)

# In a folder of its own, beside what is not instrumented.
sanitize:  ## The Rust tests under AddressSanitizer (needs a nightly toolchain)
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --quiet --lib --target-dir target/sanitize \
		--target $(shell rustc -vV | sed -n 's/^host: //p')

lint: $(STAMPS)/lint  ## Formatters, linters and type checkers, Rust and Python
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings
	cargo clippy --all-targets --features python --quiet -- -D warnings
	$(BIN)/ruff check python tests benches docs/conf.py
	$(BIN)/ruff format --check python tests benches docs/conf.py
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest certimetric._native --allowlist tests/stubtest-allowlist.txt

format: $(STAMPS)/lint  ## Format all sources
	cargo fmt
	$(BIN)/ruff check --fix --quiet python tests benches docs/conf.py || true
	$(BIN)/ruff format python tests benches docs/conf.py

bench: $(STAMPS)/bench  ## Compare with other libraries, as ratios in one run
	$(BIN)/python benches/run.py

bench-deep: $(STAMPS)/bench-deep  ## The same for what needs PyTorch
	$(VENV)-torch/bin/python benches/run.py --only deep

docs: $(STAMPS)/docs  ## Build the documentation into docs/_build/html
	$(VENV)-torch/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

wheel: $(STAMPS)/venv  ## Build a wheel into dist/
	$(BIN)/maturin build --release --quiet --interpreter $(abspath $(BIN))/python --out dist

clean:  ## Remove everything that was built
	rm -rf $(VENV) $(VENV)-torch $(STAMPS) dist target docs/_build docs/api/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f python/certimetric/_native*.so
