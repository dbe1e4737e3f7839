# Python packages live in .venv, Azurite and what the dashboard is tested with in node_modules; each is made anew only when what it is made from has changed.
# Override the interpreter with `make PYTHON=/path/to/python3.12 …`; what `make run` reads is in local/stack.py.

# The first of these that is 3.11 or later and can make virtual environments.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$python && break; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STEP := @sh local/step.sh

.DEFAULT_GOAL := help
.PHONY: help install run test soak lint bench simulate package lock clean mono chromium

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## Start the collector and all it needs on this machine, send sample traffic, print a usage report
	@$(BIN)/python -m local.stack

test: lint .conformance/.installed .kusto/.installed mono chromium ## Lint, then run all tests; they start the services they need and stop them
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 25 --durations-min 5

# About an hour and a half on two cores; each of the four parts ends the soak when it finds something.
SOAK_MINUTES ?= 25
SOAK_KILLS ?= 100
SOAK_SEEDS ?= 16
SOAK_FUZZ_PASSES ?= 6
SOAK_ATHERIS_RUNS ?= 400000
soak: install .atheris/.installed ## Try to break the promises for a long time: killed processes, faulty storage, a million odd inputs
	@$(BIN)/python -m tests.faults.soak --minutes $(SOAK_MINUTES) --kills $(SOAK_KILLS)
	@FAULT_SEEDS=$(SOAK_SEEDS) $(BIN)/python -m pytest -s tests/faults/test_store_faults.py
	@for pass in $$(seq $(SOAK_FUZZ_PASSES)); do \
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest -s tests/faults/test_fuzz.py || exit 1; done
	@if [ -d .atheris/atheris ]; then PYTHONPATH=.atheris $(BIN)/python -m tests.faults.coverage_fuzz --runs $(SOAK_ATHERIS_RUNS); \
	else echo "atheris does not install on this Python: no coverage-guided fuzzing"; fi

lint: install ## Check style, format and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check || { echo "error: run '$(BIN)/ruff format'" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary .

bench: install .venv-bench/.installed ## Run the benchmarks; prints a table and writes bench.json
	@.venv-bench/bin/python -m benchmarks

simulate: install ## Compute what many calls a second need of Azure and cost (docs/scale.md)
	@$(BIN)/python -m benchmarks.simulate

package: install ## Write the zip that is deployed to dist/ (docs/deployment.md)
	@$(BIN)/python -m local.package

# One resolution for Python 3.11 to 3.13 and all platforms; what is locked stays unless it has to change.
# `make lock LOCK=--upgrade` takes the newest.
UV := 0.13.9
COMPILE := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate $(LOCK)
lock: install ## Lock what the .in files ask for, with hashes, into requirements.txt and requirements-dev.txt
	$(STEP) "uv" $(PIP) uv==$(UV)
	@$(COMPILE) requirements.in --output-file requirements.txt
	@$(COMPILE) --constraint requirements.txt requirements-dev.in --output-file requirements-dev.txt

install: .venv/.installed node_modules/.installed ## Install what the other targets need

clean: ## Remove what was installed and all caches (the data of `make run` stays in .data)
	rm -rf .venv .venv-bench node_modules .screenshots .conformance .kusto .atheris dist .mypy_cache .pytest_cache .ruff_cache .hypothesis bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements-dev.txt
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later with the venv module was found; \
	set it with make PYTHON=/path/to/python" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' >/dev/null 2>&1 || sh local/step.sh "Virtual environment" $(PYTHON) -m venv --clear .venv
	$(STEP) "pip" $(PIP) --upgrade pip
	$(STEP) "Python packages" $(PIP) -r requirements-dev.txt
	@touch $@

# The tests run the C# of the policies. Debian's and Ubuntu's packages; elsewhere Mono has to be there.
MONO := mono-mcs mono-runtime libnewtonsoft-json5.0-cil
mono:
	@{ command -v mcs && command -v mono && test -e /usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll; } >/dev/null || { \
	{ command -v apt-get && test "$$(id -u)" = 0; } >/dev/null || { \
	echo "error: the tests of the policies need Mono: as root, apt-get install --no-install-recommends $(MONO)" >&2; exit 1; }; \
	sh local/step.sh "Mono" sh -c 'apt-get update && apt-get install -y --no-install-recommends $(MONO)'; }

# The tests of the dashboard look at it in Debian's browser; another one can be named in CHROMIUM.
chromium:
	@test -x "$$CHROMIUM" || command -v chromium >/dev/null || { \
	{ command -v apt-get && test "$$(id -u)" = 0; } >/dev/null || { \
	echo "error: the tests of the dashboard need Chromium: as root, apt-get install --no-install-recommends chromium; or set CHROMIUM" >&2; \
	exit 1; }; \
	sh local/step.sh "Chromium" sh -c 'apt-get update && apt-get install -y --no-install-recommends chromium'; }

.conformance/.installed: tests/conformance/requirements.txt | .venv/.installed
	@rm -rf .conformance
	$(STEP) "Worker library" $(PIP) --no-deps --ignore-requires-python --target .conformance -r $<
	@touch $@

.kusto/.installed: tests/infra/kusto/package.json tests/infra/kusto/package-lock.json | node_modules/.installed
	@rm -rf .kusto && mkdir .kusto && cp $^ .kusto
	$(STEP) "Kusto parser" npm ci --no-progress --prefix .kusto
	@touch $@

.atheris/.installed: tests/faults/requirements.txt | .venv/.installed
	@rm -rf .atheris && mkdir .atheris
	@$(PIP) --no-deps --only-binary :all: --target .atheris -r $< 2>.atheris/log || true
	@touch $@

# The benchmarks' peers pin much, so they and what they are measured against live apart from what the tests use.
.venv-bench/.installed: benchmarks/requirements.txt local/requirements.in requirements.in | .venv/.installed
	@$(BIN)/python -m venv --clear --without-pip .venv-bench
	$(STEP) "Benchmark packages" $(BIN)/python -m pip --python .venv-bench install --quiet \
	--disable-pip-version-check -r $<
	@touch $@

node_modules/.installed: package.json package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { \
	echo "error: node and npm were not found; Azurite needs Node.js 20 or later" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { \
	echo "error: Node.js $$(node --version) is too old; Azurite needs 20 or later" >&2; exit 1; }
	$(STEP) "npm packages" npm ci --no-progress
	@touch $@
