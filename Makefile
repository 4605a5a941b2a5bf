# Set-up and every-day commands. `make train` and `make test` install by themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tools
UV := $(shell command -v uv)
PIP_INSTALL := $(if $(UV),$(UV) pip install --compile-bytecode --python $(BIN)/python,$(BIN)/pip install) --quiet -c .ci/constraints.txt
STUDY ?= temperature_lambda
ARGS ?=
WORKERS ?= -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: help install train sweep data judge sync test test-fast coverage lint format bench bench-gpu ui clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(TOOLS)  ## .venv with the versions that were tested, and the tools for tests and checks

# torch first and alone: whatever depends on it then keeps the build that is already there
$(INSTALLED): pyproject.toml .ci/constraints.txt
	@echo "Installing torch, transformers, MLflow, Optuna and what they need into $(VENV) with $(if $(UV),uv,pip): once,"
	@echo "about 2 GB on disk (several more if torch comes with CUDA), some four minutes with pip, fewer with uv."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) torch
	@$(PIP_INSTALL) -e .
	@touch $(INSTALLED)

$(TOOLS): $(INSTALLED)
	@echo "Installing the tools for tests and checks into $(VENV) with $(if $(UV),uv,pip): once, a few hundred MB, a minute."
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(TOOLS)

train: $(INSTALLED)  ## train the default model on the sample data: make train ARGS="loss.temperature=0.1"
	$(BIN)/python -m src.train $(ARGS)

sweep: $(INSTALLED)  ## search, or continue a search: make sweep STUDY=temperature_lambda ARGS="hydra.sweeper.n_trials=40"
	$(BIN)/python -m src.train --config-name $(STUDY) $(ARGS)

data: $(INSTALLED)  ## what is read of your file or folder, without training: make data DATA=judged.jsonl
	$(BIN)/python -m src.train data.report=true $(if $(DATA),data=votes "data.path='$(DATA)'") $(ARGS)

judge: $(INSTALLED)  ## score responses, with or without votes: make judge FILE=responses.jsonl ARGS="--neighbours 3"
	$(BIN)/python -m src.judge $(if $(FILE),"$(FILE)") $(ARGS)

sync: $(INSTALLED)  ## send what a tracking server that was away has not taken yet: make sync ARGS="outputs/2026-11-24"
	$(BIN)/python -m src.sync $(ARGS)

test: $(TOOLS)  ## every test, the slow ones too
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-fast: $(TOOLS)  ## the tests that take seconds, before each commit
	$(BIN)/python -m pytest -m "not slow" $(WORKERS) $(ARGS)

coverage: $(TOOLS)  ## which lines of src the tests run, in whichever process: make coverage ARGS="tests/losses"
	rm -rf .cache/coverage
	$(BIN)/python -m coverage run -m pytest $(WORKERS) $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(TOOLS)  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(TOOLS)  ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TOOLS)  ## the measured comparisons, half an hour; close other programs first. Each script takes --help
	$(BIN)/python tests/benchmarks/contrastive_memory_and_time.py
	$(BIN)/python tests/benchmarks/training_throughput.py
	$(BIN)/python tests/benchmarks/padding.py
	$(BIN)/python tests/benchmarks/sweep_speed.py
	$(BIN)/python tests/benchmarks/pruners.py
	$(BIN)/python tests/benchmarks/recording.py
	$(BIN)/python tests/benchmarks/serving.py
	$(BIN)/python tests/benchmarks/waiting_threads.py
	$(BIN)/python tests/benchmarks/scaling.py

bench-gpu: $(TOOLS)  ## what only a GPU can tell, a quarter of an hour; each part runs, whatever the one before came to
	-$(BIN)/python -m pytest -m "not slow" tests/losses tests/model tests/training -k "gpu or cuda or kernel or device"
	-$(BIN)/python tests/benchmarks/contrastive_memory_and_time.py --only-gpu
	-$(BIN)/python tests/benchmarks/training_throughput.py --hidden 768 --full-length 128 --examples 8192 --compiled
	-$(BIN)/python tests/benchmarks/training_throughput.py --hidden 768 --full-length 128 --examples 8192 --batch-size 256
	-$(BIN)/python tests/benchmarks/padding.py --hidden 768 --batch-size 256 --examples 4096 --eval-batch-size 1024
	-$(BIN)/python tests/benchmarks/idle.py model.encoder.hidden_size=768 model.encoder.num_layers=12 model.encoder.num_heads=12 sampler.batch_size=256
	-$(BIN)/python tests/benchmarks/large_batch.py
	-$(BIN)/python tests/benchmarks/loss_curves.py

ui: $(INSTALLED)  ## the MLflow UI on http://127.0.0.1:5000, opened at the latest sweep: make ui PORT=5001
	$(BIN)/python -m src.ui --port $(or $(PORT),5000)

clean:  ## remove .venv and the caches; runs and records stay
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache
