# Assent.  `make demo` and `make test` set everything up; nothing is installed by hand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(notdir $(basename $(wildcard proto/*.proto)))

.PHONY: help setup proto lint format test check bench bench-peers sanitize demo docs requirements clean
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

NATIVE := setup.py $(wildcard protocol/*/native/*)

$(VENV)/.ready: requirements/dev.txt pyproject.toml $(NATIVE)
	@if [ -n "$$CI" ]; then rm -rf $(VENV); fi
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -q --require-hashes -r requirements/dev.txt
	PYTHONWARNINGS=ignore $(BIN)/pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.ready ## make .venv with everything in it

proto: setup ## regenerate the stubs from proto/
	$(BIN)/python -m grpc_tools.protoc -Iprotocol/wire=proto --python_out=. --pyi_out=. \
	  --grpc_python_out=. $(addprefix protocol/wire/,$(addsuffix .proto,$(PROTOS)))
	@grep -L Stub protocol/wire/*_pb2_grpc.py | xargs -r rm -f

lint: setup ## format check, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# As many as processors: with one more, stories over real processes met their time limits.
WORKERS := $(shell nproc 2>/dev/null || echo 2)
# The tests sync thousands of small databases and start a hundred processes: in memory where
# there is room for both, and with compiled files whatever the environment says.
SCRATCH := $(shell free=$$(df -Pk /dev/shm 2>/dev/null | awk 'END {print $$4}'); \
  if [ -w /dev/shm ] && [ "$${free:-0}" -gt 2000000 ]; then echo /dev/shm; else echo $${TMPDIR:-/tmp}; fi)
unexport PYTHONDONTWRITEBYTECODE

check: lint ## fast: lint, types, contracts, unit tests
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test: lint ## everything: lint, types, contracts, all tests
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n $(WORKERS) -rs

bench: setup ## measure against the peers; writes bench/results.json and docs/BENCHMARKS.md
	$(BIN)/python -m bench

# In an environment of their own: openmined-psi wants another protobuf than we do.
bench-peers: ## the peers of `make bench` that cannot live in .venv
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --disable-pip-version-check -q --require-hashes -r requirements/peers.txt

sanitize: setup ## the native kernels under address and undefined-behaviour sanitizers
	$(BIN)/python -m pytest -rs tests/protocol/paillier/test_native_sanitized.py \
	  tests/protocol/psi/test_native_curve.py tests/protocol/kmeans/test_native_step.py -k sanitizers

demo: setup ## two companies, overlap and cross-tab, report in demo/
	$(BIN)/python -m assent.demo

docs: setup ## rewrite the generated parts of README and docs
	$(BIN)/python -m assent.docs

PIN := $(BIN)/pip-compile -q --generate-hashes --strip-extras --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe

requirements: ## pin the requirements again, with hashes
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q pip-tools
	$(PIN) --extra dev --output-file requirements/dev.txt pyproject.toml
	echo openmined-psi | $(PIN) --output-file requirements/peers.txt -

clean: ## remove what can be made again
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
