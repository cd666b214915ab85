# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set themselves up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STAMP := $(VENV)/.ready
# tried when it is wanted, and once
PYTHON ?= $(eval PYTHON := $(shell .ci/python))$(PYTHON)
SCENARIO ?= power-peg

.PHONY: help setup check test demo bench up down clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Make .venv with every extra

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "knightwatch needs Python 3.11 or newer; found $$(python3 --version 2>&1). Install the system package python3.11 (or newer)."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. Install the system package python3-venv (Debian, Ubuntu), then run make again."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing packages into $(VENV) (a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench,browser,desk,embedded,fix,replay,sim,test]'
	@touch $(INSTALLED)

$(STAMP): $(INSTALLED)
	@echo "compiling the detectors' and the simulator's loops (up to a minute, once) ..."
	@$(BIN)/python -m detectors.warm
	@$(BIN)/python -m producers.warm
	@# else every start reads the sources anew where Python is told not to write (PYTHONDONTWRITEBYTECODE): 0.3 s of a second
	@$(BIN)/python -m compileall -q $(filter-out tests/ benchmarks/,$(wildcard */))
	@touch $(STAMP)

check: $(INSTALLED) ## Lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: $(STAMP) ## Run all tests, on a real Kafka
	@# files side by side on two processes, the longest first (tests/longest.py); a test that a busy machine failed gets a second chance, and is counted
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --reruns 1

demo: $(STAMP) ## A runaway and its halt, live: real Kafka, worker, eight routers (SCENARIO=calm for an ordinary minute)
	@$(BIN)/knightwatch demo --scenario $(SCENARIO)

bench: $(STAMP) ## Run every benchmark, keep the results, draw the plots (BENCH="engine latency" for some)
	@$(BIN)/python -m benchmarks $(BENCH)

up: ## The multi-node stack in containers (needs Docker)
	docker compose up --build

down: ## Stop the stack
	docker compose down --volumes

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
