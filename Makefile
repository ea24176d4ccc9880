# Two commands: `make demo` tells the story, `make test` runs everything. Both install what they need.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.13 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
NODE_READY := node_modules/.ready

.PHONY: demo test check unit chaos simulate mutate up lock clean help
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY) $(NODE_READY) ## the demo's story on a local Azure: create, use, delete, prune
	@$(BIN)/python -m sandbox demo

test: check $(NODE_READY) ## every check and every test but chaos; 95 % of shared/ must be covered
	@$(BIN)/python -m tests.tiers
	@$(BIN)/python -m pytest tests/simulation
	@rm -f .coverage && $(BIN)/python -m pytest -n auto -m "not chaos" --ignore=tests/simulation --cov --cov-report=term:skip-covered
	@$(BIN)/coverage report --include='shared/*' --fail-under=95 --format=total >/dev/null \
	  || { echo "less than 95 % of shared/ is covered, branches counted" >&2; exit 1; }

check: $(READY) ## lint, format, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

unit: $(READY) ## the unit tests alone
	@$(BIN)/python -m pytest tests/unit

chaos: $(READY) $(NODE_READY) ## kill hosts, restart Azurite, take Azure away, for two minutes
	@$(BIN)/python -m pytest -s -m chaos tests/e2e/test_chaos.py

simulate: $(READY) ## 10,000 simulated runs with faults; SEED=42 replays one with its trace
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds 10000)

mutate: $(READY) ## break the core in every small way and see who notices; well over half an hour
	@$(BIN)/python -m tests.mutation

up: $(READY) $(NODE_READY) ## a local Azure that stays; prints one JSON line
	@$(BIN)/python -m sandbox up

$(READY): requirements-tools.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' \
	  || { echo "Python 3.13 is needed: pyenv install 3.13, or make PYTHON=/path/to/python3.13" >&2; exit 1; }
	@echo "installing Python packages into .venv (no root needed)" >&2
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-tools.txt
	@$(BIN)/uv pip install -q --compile-bytecode --require-hashes -r requirements-dev.txt
	@touch $@

$(NODE_READY): package-lock.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer is needed for Azurite: apt-get install nodejs npm" >&2; exit 1; }
	@echo "installing Azurite into node_modules" >&2
	@npm ci --silent --no-audit --no-fund >&2 && touch $@

lock: $(READY) ## resolve requirements*.in again
	@for name in requirements requirements-dev; do $(BIN)/uv pip compile -q --upgrade --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --no-emit-find-links --python-version 3.13 $$name.in -o $$name.txt; done

clean: ## forget what was installed and left behind
	@rm -rf .venv node_modules .sandbox .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
