# Every target does the set-up it needs; the second time that costs next to nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.pyx native/*/*)
# How hard the compiler works: SCALER_OPTIMIZE=g for a quick build while editing, as it is for speed.
export SCALER_OPTIMIZE ?= 3
export SCALER_SYMBOLS ?= 0
READY := $(VENV)/.ready-O$(SCALER_OPTIMIZE)

.PHONY: setup demo test test-all sanitize check options bench bench-peers chaos soak clean
.DEFAULT_GOAL := setup

setup: $(READY)

# An extension that was built with other flags counts as up to date, so it is removed first.
$(READY): pyproject.toml setup.py $(NATIVE)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -e $@ || rm -f scaler/_native.*.so
	@$(BIN)/python -m pip install -q --disable-pip-version-check "pip>=25.1"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group dev
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e .
	@rm -f $(VENV)/.ready*
	@touch $@

demo: setup
	$(BIN)/python -m examples.census

test: setup
	$(BIN)/python -m pytest

test-all:
	@tests/on_each_python.sh

# SANITIZE="pytest tests/native -k edges" for a part of it, SANITIZE=--all for everything.
sanitize: setup
	$(BIN)/python -m tests.sanitize $(SANITIZE)

check: setup
	$(BIN)/ruff check scaler tests perf examples
	$(BIN)/mypy
	$(BIN)/python -m tests.checks.stub
	$(BIN)/python -m tests.checks.imports
	$(BIN)/python -m tests.checks.options

options: setup
	$(BIN)/python -m tests.checks.options --write

bench: setup
	$(BIN)/python -m perf

bench-peers: setup
	$(BIN)/python -m perf.peers

# CHAOS="--seconds 20 --link wire" for another run; `python -m tests.chaos -h` says what there is.
chaos: setup
	$(BIN)/python -m tests.chaos $(CHAOS)

# SOAK="--seconds 60 --link rings" for another run.
soak: setup
	$(BIN)/python -m tests.soak $(SOAK)

clean:
	rm -rf .venv .venvs build *.egg-info native/_native.c scaler/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find scaler tests perf examples -name __pycache__ -prune -exec rm -rf {} +
