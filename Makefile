# Every target installs its requirements on a machine with only Python (>= 3.11), make and git.
PYTHON ?= python3
VENV   ?= .venv
# On two cores: integration and fault tests wait for 70% of their time, so there are more processes than cores.
# Their long files come first.
TESTS  ?= -n 4 --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo up check test prove bench format schemas lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## create the virtual environment with the locked dependencies

# Most modules are never imported, so pip compiles none of them. The editable mode is the one that a script beside a
# clone named `penstock` can import too: in the other one that folder hides the package.
$(READY): requirements/build.lock requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Penstock needs Python 3.11 or newer; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-build-isolation -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat -e .
	@touch $@

demo: $(READY)  ## start a complete system, show the main promises, stop it (under a minute)
	$(BIN)/penstock demo

up: $(READY)  ## start the same system and keep it running until Ctrl-C
	$(BIN)/penstock up

check: $(READY)  ## format, lint, types, architecture, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m penstock.contract.generate --check
	$(BIN)/python docs/generate_metrics.py --check
	$(BIN)/pytest -q tests/unit/test_architecture.py

# Hundreds of processes start in the suite: with compiled modules on disk each saves a third of its start.
test prove: export PYTHONDONTWRITEBYTECODE =
test: $(READY)  ## run all tests; a change must pass these and `make check`
	$(BIN)/pytest $(TESTS) -m "not prove"

prove: $(READY)  ## run the long proofs (load, soak, kill series) and every hypothesis example; ends with a table
	PENSTOCK_EXAMPLES=all $(BIN)/pytest -m "prove or hypothesis" -s --timeout 300

bench: $(READY)  ## run the benchmark; the last line is one JSON object
	@$(BIN)/python -m tests.bench

format: $(READY)  ## format, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(READY)  ## regenerate the JSON Schemas, schemas/asyncapi.json and docs/metrics.md
	$(BIN)/python -m penstock.contract.generate
	$(BIN)/python docs/generate_metrics.py

LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

lock: $(READY)  ## resolve the dependencies again (needs uv on the PATH)
	$(LOCK) --extra server --extra guard --extra encoder --extra index pyproject.toml -o requirements/runtime.lock
	$(LOCK) --extra dev requirements/build.in pyproject.toml -c requirements/runtime.lock -o requirements/dev.lock
	$(LOCK) requirements/build.in -c requirements/dev.lock -o requirements/build.lock

clean:  ## remove build output and the local system's store, logs and traces
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .penstock
