# `make` lists the targets. The first one that needs it makes .venv from the pinned requirements; all
# that must be on the machine is Python 3.11 or newer with venv, and make.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)
BIN := .venv/bin
READY := .venv/ready
CASES ?= 100000

.PHONY: help venv demo test check kafka fuzz chaos bench docs grammar golden lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY)  ## make .venv, with .venv/bin/detectord in it

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv found; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY)  ## see attacks become alerts, on a broker inside the program
	$(BIN)/detectord demo

test: $(READY)  ## run every test that can run here
	$(BIN)/python -m pytest -q

check: $(READY)  ## what CI asks besides the tests: lint, types, layers, generated pages, rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/grammar_tables.py --check
	$(BIN)/python docs/generate.py --check
	$(BIN)/detectord check rules

kafka: $(READY)  ## run an Apache Kafka on loopback until interrupted; needs Java 17 and Maven (NODES=3)
	$(BIN)/python tests/kafkanodes.py $(NODES)

fuzz: $(READY)  ## hold the engines against the oracle, and mutated rules against the front end, dying instances (CASES=100000)
	$(BIN)/python tests/fuzz.py --cases $(CASES)
	$(BIN)/python tests/fuzz.py --front-end --cases $(CASES)
	$(BIN)/python tests/differential.py --cases $(CASES)
	$(BIN)/python tests/fuzz.py --histories --cases $(CASES)

chaos: $(READY)  ## strike a real Kafka and the daemon, hold its alerts against the answer (RUNS=100 SEED=1 MINUTES=60)
	PYTHONPATH=tests $(BIN)/python -m chaos $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(QUICK),--quick) $(if $(BROKERS),--brokers $(BROKERS)) $(if $(AGAIN),--again) $(addprefix --only ,$(ONLY))

bench: $(READY)  ## what everything costs, side by side (QUICK=1: sooner; ONLY=engine,hostile: these sections)
	PYTHONPATH=tests $(BIN)/python -m bench $(if $(QUICK),--scale quick) $(if $(ONLY),--only $(ONLY))

docs: $(READY)  ## write the generated pages of docs/ again
	$(BIN)/python docs/generate.py

grammar: $(READY)  ## make the parsing tables of the language again, after a change of its grammar
	$(BIN)/python scripts/grammar_tables.py

golden: $(READY)  ## write the expected outputs of tests again; then read the diff
	$(BIN)/python -m pytest -q --update-goldens

# Compiled on the oldest Python that we support: what only that one needs does no harm on the others.
lock:  ## pin the requirements again
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	rm -rf .venv-lock

# Without this machine's pip settings, so that no address and no hash of a wheel of its own gets in.
LOCK = env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --no-config --quiet --upgrade \
	--generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

clean:  ## remove what was made
	rm -rf .venv .venv-lock build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
