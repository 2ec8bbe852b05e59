# Needs Python 3.11 or newer with venv, and make; everything else goes into .venv.
# Another Python: make PYTHON=python3.13 test; its environment is .venv-python3.13.

PYTHON ?= python3
VENV := $(if $(filter python python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
# Made last, so that an interrupted installation is begun again.
STAMP := $(VENV)/installed
# The same without linters and test tools.
RUNS := $(VENV)/runs

# The benchmarks have environments of their own: $(BENCH)-NAME for some peers, $(BENCH) else.
BENCH := .venv-bench
FIGURES := build/bench
# Of the benchmarks: more are surer, fewer are sooner.
ROUNDS ?=

PACKAGE := .venv-package
FUZZ := .venv-fuzz
# Of all its targets together.
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 120
ENDURANCE_SECONDS ?= 600
# Of `make test`: more than the cores, since tests wait most of their time.
WORKERS ?= 4
AFTER ?= .

# Each server and command of the tests is a new interpreter: without bytecode each would compile
# bgpy anew, which more than doubles what it costs.
unexport PYTHONDONTWRITEBYTECODE

# What `make test`, `make coverage` and `make test-general` run; empty means all.
TESTS ?=

.PHONY: demo environment test test-second test-wine test-general properties coverage package check reference fuzz soak endurance siege bench bench-quick bench-bars bench-compare bench-peers clean

demo: $(if $(wildcard $(STAMP)),$(STAMP),$(RUNS))
	$(BIN)/python examples/quickstart.py

# What the tests need, and nothing run.
environment: $(STAMP)

# A file is one worker's; the longest come first (tests/support/order.py), not the fullest.
AT_ONCE := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(BIN)/python -m pytest $(AT_ONCE) $(TESTS)

# Those that depend on the version most, on another Python of this machine, if it has one.
test-second: $(STAMP)
	$(BIN)/python tools/second_python.py

# What must hold for any input, with thousands of inputs for each; some minutes.
properties: $(STAMP)
	$(BIN)/python -m pytest $(AT_ONCE) --hypothesis-profile thorough -m hypothesis $(TESTS)

# What can run on Windows' Python under Wine, where tools/pythons/make.sh has put that. Not
# here: most of what starts processes, since each takes Wine some seconds. The workflow runs all
# of it on Windows, so first all files have to load there.
WINE_TESTS := codec engines process serving state system tasks tls wire \
	$(addprefix api/test_,$(addsuffix .py,calls errors handles initialize run_in_foreground submit terminate))
WINE := tools/pythons/wine.sh -m pytest -q -p no:cacheprovider
test-wine:
	$(if $(TESTS),,$(WINE) --collect-only -qq tests)
	$(WINE) -rs --timeout 300 $(or $(TESTS),$(addprefix tests/,$(WINE_TESTS)))

# The same without the short roads of small calls (docs/design/0026).
test-general: $(STAMP)
	BGPY_ROAD=general $(BIN)/python -m pytest $(AT_ONCE) $(TESTS)

# Lines and branches that the tests reach, in their servers' processes too.
coverage: $(STAMP)
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# sdist and wheel in dist, looked at as the index would, and the wheel tried where nothing
# else of this folder is.
package: $(PACKAGE)/installed
	rm -rf dist build/try
	$(PACKAGE)/bin/python -m build --outdir dist .
	$(PACKAGE)/bin/python -m twine check --strict dist/*
	$(PYTHON) -m venv --clear build/try
	build/try/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cp examples/quickstart.py build/try
	cd build/try && bin/python quickstart.py && bin/bgpy --version

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy --platform win32
	$(BIN)/mypy --platform darwin
	$(BIN)/mypy --config-file tests/mypy.ini --platform linux
	$(BIN)/python -m pytest tests/test_floors.py tests/test_docs.py tests/test_reference.py

# docs/reference.md from the docstrings; a test holds the page against them.
reference: $(STAMP)
	$(BIN)/python .ci/reference.py

# Guided by coverage where atheris installs, else by hypothesis.
fuzz: $(FUZZ)/installed
	$(FUZZ)/bin/python -m fuzz --seconds $(FUZZ_SECONDS)

# A server that lives long among calls, reconnects and kills must not grow.
soak: $(STAMP)
	$(BIN)/python -m endurance.soak --seconds $(SOAK_SECONDS)

# Exceptions, calls and collections that strike both sides at every instruction.
endurance: $(STAMP)
	$(BIN)/python -m endurance.strikes --seconds $(ENDURANCE_SECONDS)

# About three minutes; writes docs/siege.md.
siege: $(STAMP)
	$(BIN)/python -m endurance.siege --save $(FIGURES)/siege.json --write docs

# Some 20 minutes; writes docs/benchmarks.md and docs/benchmarks.svg.
bench: $(BENCH)/installed bench-peers
	$(BENCH)/bin/python -m compileall -q src  # as an installed package is
	$(BENCH)/bin/python -m benchmarks $(ROUNDS:%=--rounds %) --save $(FIGURES)/all.json --write docs

bench-quick: $(BENCH)/installed
	$(BENCH)/bin/python -m compileall -q src
	$(BENCH)/bin/python -m benchmarks --quick $(ROUNDS:%=--rounds %)

# The road of a small call against its bars: 2 minutes.
bench-bars: $(STAMP)
	$(BIN)/python -m benchmarks.bars $(ROUNDS:%=--rounds %)

# Two checkouts against each other: make bench-compare BEFORE=../before AFTER=.
bench-compare: $(STAMP)
	$(BIN)/python -m benchmarks.compare $(BEFORE) $(AFTER)

# Those that need environments of their own; a run leaves out what doesn't install here.
bench-peers:
	-$(MAKE) $(BENCH)-ray/installed
	-$(MAKE) $(BENCH)-031/installed

clean:
	rm -rf .venv .venv-python* $(PACKAGE) $(FUZZ) $(BENCH) $(BENCH)-* build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks endurance fuzz tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNS): pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $(RUNS)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

$(PACKAGE)/installed: pyproject.toml
	$(PYTHON) -m venv --clear $(PACKAGE)
	$(PACKAGE)/bin/python -m pip install --quiet --disable-pip-version-check 'build>=1.2' 'twine>=6.1'
	touch $@

$(FUZZ)/installed: pyproject.toml
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --editable . hypothesis
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check atheris \
		|| echo 'atheris does not install here: fuzzing is not guided by coverage'
	touch $@

$(BENCH)/installed: pyproject.toml benchmarks/environments/bench.txt
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable . \
		--requirement benchmarks/environments/bench.txt
	touch $@

$(BENCH)-%/installed: benchmarks/environments/%.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@
