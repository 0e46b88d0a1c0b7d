# Every target does the set-up it needs; the second time that costs next to nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.pyx native/*/*)
PIP := $(BIN)/python -m pip -q --disable-pip-version-check
# How hard the compiler works: SCALER_OPTIMIZE=g for a quick build while editing, 2 for speed (3 is larger, not faster).
export SCALER_OPTIMIZE ?= 2
export SCALER_SYMBOLS ?= 0
BUILT := $(VENV)/.built-O$(SCALER_OPTIMIZE)-g$(SCALER_SYMBOLS)
# The web page of scaler_ui, bundled from web/. SCALER_NO_PAGE=1 does without it.
PAGE := scaler/monitor/page/static/page.js
WEB := $(filter-out web/node_modules%,$(wildcard web/* web/src/* web/src/*/*))

.PHONY: setup page docs demo test test-peers nightly test-all sanitize check options states top-page ui-screens figures bench bench-peers chaos soak clean
.DEFAULT_GOAL := setup

setup: $(BUILT) $(if $(SCALER_NO_PAGE),,$(PAGE))

page: $(PAGE)

$(PAGE): $(WEB) | $(VENV)/.installed
	@web/build.sh $(abspath $(BIN)/python)

# The tools come while the compiler works, which takes as long.
$(VENV)/.installed: pyproject.toml setup.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install "pip>=25.1"
	@$(PIP) install --group build
	@$(BIN)/python setup.py -q build_ext --inplace --force & build=$$!; \
		$(PIP) install --group dev && wait $$build
	@SCALER_EXTENSION=ready PYTHONWARNINGS=ignore $(PIP) install --no-build-isolation -e .
	@rm -f $(VENV)/.built*
	@touch $@ $(BUILT)

# An extension that was built with other flags would count as up to date.
$(BUILT): $(VENV)/.installed $(NATIVE)
	@touch $(VENV)/.building  # a source that changes meanwhile is newer than what is built
	@test -e $@ && force= || force=--force; $(BIN)/python setup.py -q build_ext --inplace $$force
	@rm -f $(VENV)/.built*
	@mv $(VENV)/.building $@

demo: setup
	$(BIN)/python -m examples.census

# In so many processes at a time: most tests wait for something most of the time.
TEST_PROCESSES ?= 3

test: setup
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal

# Other people's tests, played with our executors, pools and backends. What is not installed is said at the end.
test-peers: setup
	SCALER_SUITES=1 $(BIN)/python -m pytest tests/suites --timeout 300

# Everything, with much more of what is random, on seeds that nobody has seen. The first failure ends it.
nightly: setup
	SCALER_TESTS=nightly $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --timeout 3600
	$(MAKE) test-peers
	$(BIN)/python -m tests.fuzz all --events $(FUZZ_EVENTS)
	$(BIN)/python -m tests.sanitize --all
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.soak

# Of each fuzzer.
FUZZ_EVENTS ?= 2000000

test-all:
	@tests/on_each_python.sh

# SANITIZE="pytest tests/native -k edges" for a part of it, SANITIZE=--all for everything.
sanitize: setup
	$(BIN)/python -m tests.sanitize $(SANITIZE)

check: setup
	$(BIN)/ruff check setup.py docs/conf.py scaler tests perf examples
	$(BIN)/ruff format --check setup.py docs/conf.py scaler tests perf examples
	$(BIN)/mypy
	$(if $(SCALER_NO_PAGE),,web/build.sh $(abspath $(BIN)/python) check)
	$(BIN)/stubtest --mypy-config-file pyproject.toml --ignore-disjoint-bases --ignore-unused-allowlist \
		--allowlist tests/checks/stub_allowlist.txt scaler._native
	$(BIN)/python -m tests.checks.imports
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.checks.options
	$(BIN)/python -m tests.checks.pointers
	$(BIN)/python -m tests.checks.signatures
	$(BIN)/python -m tests.checks.states
	$(BIN)/python -m tests.checks.top
	$(BIN)/python -m perf.figures

options: setup
	$(BIN)/python -m tests.checks.options --write
	$(BIN)/python -m tests.checks.signatures --write

states: setup
	$(BIN)/python -m tests.checks.states --write

# The pictures of docs/ui.md, in a browser.
ui-screens: setup
	$(BIN)/python -m tests.monitor.page.screens

# The screens and tables in docs/top.md.
top-page: setup
	$(BIN)/python -m tests.checks.top --write

# After `make bench` or some of its rows: docs/figures.md and README's table from what was measured last.
figures: setup
	$(BIN)/python -m perf.figures --take --write

# The documentation site, in build/docs. A link or a name that leads nowhere ends it.
docs: setup
	@rm -rf build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -b html -d build/doctrees . build/docs
	@echo "build/docs/index.html"

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
	rm -rf .venv .venvs build *.egg-info native/_native.c scaler/*.so web/node_modules $(dir $(PAGE)) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find scaler tests perf examples -name __pycache__ -prune -exec rm -rf {} +
