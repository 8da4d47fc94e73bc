# Every target installs its requirements on a machine with only Python (>= 3.11), make and git.
PYTHON ?= python3
VENV   ?= .venv
# On two cores: integration and fault tests wait for 70% of their time, so there are three processes for each core.
# Their long files come first.
TESTS  ?= -n 6 --dist loadfile --no-loadscope-reorder
BIN    := $(VENV)/bin
# Where `make bench-peers` looks for other gateways, and `make profile` writes to.
PEERS  ?= .penstock/peers
OUT    ?= .penstock/profile
READY  := $(VENV)/.ready

.PHONY: help setup demo up check test prove bench bench-peers profile format schemas lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

setup: $(READY)  ## create the virtual environment with the locked dependencies
	@echo "Ready. Try: make demo"

# Most modules are never imported: pip compiles none of them (166 MB), and the last line those that services import
# (25 MB, 3 s of CPU), so that the first processes do not each do it (a worker: 1 s), nor every one where
# PYTHONDONTWRITEBYTECODE is set. The editable mode is the one that a script beside a clone named `penstock` can import
# too: in the other one that folder hides the package.
$(READY): requirements/build.lock requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Penstock needs Python 3.11 or newer; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-build-isolation -r requirements/dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat -e .
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import penstock.cli.demo.demo, penstock.cli.local.up, penstock.runtime.service, \
		services.edge.app, services.edge.http.server, services.guard.app, services.indexer.app, services.ledger.app, \
		services.router.app, services.simulator.app, services.worker.app, services.worker.providers.openai_sdk'
	@touch $@

demo: $(READY)  ## start a complete system, show the main promises, stop it (a minute or two)
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

prove: $(READY)  ## run the long proofs and every hypothesis example, or those of PROVE=path; ends with a table
	PENSTOCK_EXAMPLES=all $(BIN)/pytest $(PROVE) -m "prove or hypothesis" -s --timeout 300

bench: $(READY)  ## run the benchmark, or PART=requests of it; a table, and the last line is one JSON object
	@$(BIN)/python -m tests.bench $(PART)

bench-peers: $(READY)  ## the same request through other gateways, where they are installed in PEERS (docs/performance.md)
	@$(BIN)/python -m tests.bench.peers $(PEERS)

profile: $(READY)  ## flame graphs of client, router and worker under load, and their calls per request, into OUT
	@$(BIN)/python -m tests.bench.profile $(OUT)

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
