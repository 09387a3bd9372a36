# SportSkills: `make reproduce` and `make test` are all that a newcomer needs. Each sets up what it needs: an active
# environment that has the packages is used as it is; otherwise .venv is made from requirements.lock, once.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

RUN ?= demo
PRESET ?= demo
ARGS ?=

NEEDED := torch polars dataframely papermill open_clip peft typer pytest ruff mypy
HAS := import sys; from importlib.util import find_spec; sys.exit(any(find_spec(name) is None for name in "$(NEEDED)".split()))
ACTIVE := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX))
USE_ACTIVE := $(if $(filter-out $(CURDIR)/.venv,$(ACTIVE)),$(shell "$(ACTIVE)/bin/python" -c '$(HAS)' 2>/dev/null && echo yes))

ifeq ($(USE_ACTIVE),yes)
BIN := $(ACTIVE)/bin
READY :=
else
BIN := .venv/bin
READY := .venv/.ready
endif
PYTHON := $(BIN)/python
SPORTSKILLS := $(PYTHON) -m sportskills_lib.cli

# One OpenMP thread a test process: two test processes share the cores.
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE MPLBACKEND=agg
TEST_WORKERS ?= 2
TESTS ?=

.PHONY: help reproduce study demo test lint format lab gpu lock clean setup

help: ## show this list
	@echo "SportSkills: learn physical skills from instructional video"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  RUN=name PRESET=smoke|demo|local|paper ARGS='--from 03 …' may follow reproduce; TESTS=path follows test."

reproduce: $(READY) ## run the whole pipeline on the built-in demo world; ends with reports/demo/index.html
	@$(SPORTSKILLS) reproduce --run $(RUN) --preset $(PRESET) $(ARGS)

study: $(READY) ## run the sweeps of notebooks/study.toml over the demo run; tables and figures go to docs/study
	@$(SPORTSKILLS) study $(ARGS)

demo: $(READY) ## only make the demo world in data/raw/demo (reproduce does it too)
	@$(SPORTSKILLS) demo $(ARGS)

test: $(READY) ## run the tests on two cores
	@$(TEST_ENV) $(PYTHON) -m pytest -n $(TEST_WORKERS) --dist loadfile --durations 10 $(TESTS) $(ARGS)

lint: $(READY) ## ruff over .py and .ipynb, mypy over the library, notebooks stripped
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@set -- notebooks/*.ipynb; test ! -e "$$1" || $(PYTHON) -m nbstripout --verify --keep-id "$$@"

format: $(READY) ## let ruff put .py and .ipynb in order, and strip the notebooks
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .
	@set -- notebooks/*.ipynb; test ! -e "$$1" || $(PYTHON) -m nbstripout --keep-id "$$@"

lab: $(READY) ## open the notebooks in JupyterLab with the kernel "SportSkills"
	@$(PYTHON) -m ipykernel install --sys-prefix --name sportskills --display-name SportSkills \
	  --env OMP_WAIT_POLICY PASSIVE
	@$(PYTHON) -m jupyter lab --notebook-dir . $(ARGS)

gpu: $(READY) ## check and time the GPU, if there is one
	@$(PYTHON) benchmarks/gpu.py $(ARGS)

COMPILE := -m uv pip compile --python-version 3.11 --extra dev --generate-hashes --no-header --no-annotate --no-emit-index-url

lock: $(READY) ## make requirements.lock again from pyproject.toml (and that of the benchmarks)
	@$(PYTHON) $(COMPILE) pyproject.toml -o requirements.lock
	@$(PYTHON) $(COMPILE) --extra benchmarks -c requirements.lock pyproject.toml -o benchmarks/requirements.lock

clean: ## remove the demo run, its report, the demo worlds and caches; other runs and .venv stay
	@rm -rf data/runs/demo data/runs/smoke reports/demo reports/smoke
	@rm -rf data/raw/demo data/raw/.demo data/raw/smoke data/raw/.smoke
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	@find . -name .ipynb_checkpoints -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo "removed the demo runs, the demo worlds and caches"

setup: $(READY) ## only make .venv
	@echo "packages are in $(BIN)"

# The marker is removed first and written last: an installation that was cut off is made again from nothing.
.venv/.ready: requirements.lock pyproject.toml
	@sh .ci/setup
