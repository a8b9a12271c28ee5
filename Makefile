# `make train` and `make test` do everything, from an empty checkout on.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRA ?= $(shell { nvidia-smi -L || test -e /dev/nvidia0; } >/dev/null 2>&1 && echo gpu || echo cpu)
# A test run starts dozens of Python processes; without byte code each of them compiles torch and its friends again.
unexport PYTHONDONTWRITEBYTECODE
# Versions that were tested together; those of vLLM's CUDA build are its own.
CONSTRAINT := $(if $(filter cpu,$(EXTRA)),--constraint constraints.txt)
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend=auto)

# Rows of SVAMP on this machine; without them the recipe takes those of the Hub.
SVAMP := $(firstword $(wildcard $(addsuffix /svamp.jsonl.gz,$(STAR_DATA) ../shared/data)))

.PHONY: help train real test torture lint app bench clean

help: ## This list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

train: $(VENV)/.installed ## Set up, then run STaR on addition with the embedded model (pass ARGS="RECIPE --flags" for more)
	$(BIN)/python -m star.train $(ARGS)

real: $(VENV)/.installed ## Set up, then run STaR on word problems with SmolLM2-135M-Instruct, fetched once (half an hour on two cores)
	$(BIN)/python -m star.train svamp-smollm2-135m $(SVAMP:%=--task.path %) $(ARGS)

test: $(VENV)/.installed lint ## Set up, then lint, type check and test (a thread for each of two workers: more would wait for each other)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 12

torture: $(VENV)/.installed ## Kills at every file operation, thousands of hostile records and answers (half an hour)
	$(BIN)/python benchmarks/torture.py

lint: $(VENV)/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

app: $(VENV)/.installed ## Browse rationales in the browser
	$(BIN)/rationale-app

bench: $(VENV)/.installed ## Every CPU benchmark, in order; goes on where it stopped
	$(BIN)/python -m benchmarks.run_all

# Editable "compat": the checkout itself is on the path, so that scripts of benchmarks/ import each other.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "setting up $(VENV) (about half a minute on a fast line)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@export PATH="$(CURDIR)/$(BIN):$$PATH"; uv pip install --quiet --python $(BIN)/python $(CONSTRAINT) \
	  $(FIND_LINKS) --config-setting editable_mode=compat --editable ".[$(EXTRA),dev,ray]"
	@touch $@

clean: ## Remove the environment (runs stay)
	rm -rf $(VENV)
