# Everything a developer does, by name. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
SOAK_SECONDS ?= 120
SOAK_SEED ?= 1
TORTURE_SEED ?= 1
TORTURE_MINUTES ?=
TORTURE_ONLY ?=
TORTURE_STATE ?= build/torture

.PHONY: help venv clients demo test quick soak torture check bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: .venv/made  ## make .venv with the pinned requirements and ebsim itself

.venv/made: requirements.txt requirements-dev.txt pyproject.toml .ci/venv
	@echo "making .venv"
	@PYTHON="$(PYTHON)" .ci/venv

clients: venv  ## fetch what tests of the AWS endpoint run it against, into build/clients
	@.ci/clients

demo: venv  ## run the main job on real input, and the example of the EBS documentation
	@.ci/packages mke2fs=e2fsprogs
	@$(BIN)/ebsim demo

test: venv  ## run every test
	@$(BIN)/python -m compileall -q ebsim  # so that no process that a test starts needs to
	@$(BIN)/python -m pytest -n auto --dist worksteal

quick: venv  ## run the tests that take no more than a second each
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

soak: venv  ## run threads and processes on one store for minutes (SOAK_SECONDS, SOAK_SEED)
	@$(BIN)/python tests/soak/soak.py --seconds "$(SOAK_SECONDS)" --seed "$(SOAK_SEED)"

torture: venv  ## hurt stores for about an hour; goes on where it was stopped (TORTURE_SEED, _MINUTES, _ONLY)
	@$(BIN)/python -m ebsim.testing.torture --seed "$(TORTURE_SEED)" --only "$(TORTURE_ONLY)" \
	  --minutes "$(TORTURE_MINUTES)" --state "$(TORTURE_STATE)" --document docs/testing.md

check: venv  ## check format, lint, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: venv  ## run ebsim beside its peers and print the table
	@$(BIN)/python -m benchmarks

clean:  ## remove .venv, caches and what a build leaves
	rm -rf .venv build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache \
	  .pytest_cache .ruff_cache
	find ebsim tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
