# make help | setup | demo | check | test | lint | bench | bench-peers | clean
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check -q install
FAST := not slow and not gpu and not peers

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup setup-dev demo check test lint bench bench-peers clean
.DEFAULT_GOAL := help

help:
	@echo "make setup         a virtual environment in $(VENV) with everything training needs (GPU=1: CUDA libraries too)"
	@echo "make demo          synthetic CT: make, prepare, train, evaluate, predict (minutes, on a CPU)"
	@echo "make check         lint and the fast tests (minutes)"
	@echo "make test          lint and all tests that this machine can run"
	@echo "make lint          ruff and pyright"
	@echo "make bench         all benchmarks; python -m benchmarks lists them"
	@echo "make bench-peers   a second environment with PyTorch and MONAI, and the benchmarks against them"
	@echo "make clean         remove environments, caches and outputs; prepared data stay"

$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip setuptools wheel

$(VENV)/.core: requirements.txt requirements-dali.txt | $(VENV)/bin/python
	$(PIP) -r requirements.txt
	$(if $(GPU),$(PIP) "tensorflow[and-cuda]$$(sed -n 's/^tensorflow//p' requirements.txt)")
	$(PIP) --no-build-isolation -r requirements-dali.txt || echo "DALI could not be installed here: the Sequence loader serves instead (DATA_GENERATOR_TYPE=SEQUENCE)."
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.core
	$(PIP) -r requirements-dev.txt
	@touch $@

setup: $(VENV)/.core

setup-dev: $(VENV)/.dev

demo: setup
	$(RUN) prepare.py experiment=demo
	$(RUN) train.py experiment=demo
	$(RUN) evaluate.py experiment=demo
	$(RUN) predict.py experiment=demo INPUT_PATH=data/raw/phantom/volume-0.nii.gz
	@run=$$(ls -dt outputs/phantom_unet3plus-*/ | head -n 1); \
	echo; echo "Metrics:     $${run}evaluation/metrics.csv and summary.json"; \
	echo "Pictures:    $${run}evaluation/ and $${run}curves.png"; \
	echo "Prediction:  $${run}predictions/"

lint: setup-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

check: lint
	$(RUN) -m pytest -q -n 2 --dist loadfile -m "$(FAST)"

test: lint
	$(RUN) -m pytest -q -n 2 --dist loadfile -m "not gpu and not peers"

bench: setup-dev
	$(RUN) -m benchmarks all

bench-peers: setup-dev
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip -q install torch==2.13.0
	.venv-peers/bin/pip -q install -r benchmarks/requirements-peers.txt
	$(RUN) -m benchmarks all --peers .venv-peers/bin/python

clean:
	rm -rf $(VENV) .venv-peers outputs multirun .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
