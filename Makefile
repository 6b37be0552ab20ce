# The course's commands. They need Python 3.11 to 3.13, make and git; the rest is made once, in .venv.
#   PYTHON=python3.12 chooses another Python; DEEP=1 adds the optional deep-learning packages (large);
#   TESTS=..., LAB=... and VOILA=... are handed to pytest, JupyterLab and Voila; JOBS=1 runs the tests one after the other.

PYTHON ?= python3
JOBS ?= auto
VENV := .venv
PY := $(VENV)/bin/python
# Compiled when first imported, and only that: half the time to install, a fifth less room.
PIP := $(PY) -m pip install -qq --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE
READY := $(VENV)/.ready
INSTALLED := $(READY) $(if $(filter 1,$(DEEP)),$(VENV)/.ready-deep)
FOR_TESTS := $(INSTALLED) $(patsubst %,$(VENV)/.ready-%,cluster classroom dashboard browser)
DEEP_LEFT_OUT := $(if $(filter 1,$(DEEP)),,tests/test_models_deep.py)
override TESTS += $(DEEP_LEFT_OUT:%=--ignore=%)

# .ready is written last, and holds the folder it was made for: a moved or copied checkout installs again
HERE := $(shell pwd)
MOVED := $(shell [ -x $(PY) ] && [ "`cat $(READY) 2>/dev/null`" = "$(HERE)" ] || echo always)

.DEFAULT_GOAL := help
.PHONY: help install course test test-all lab site dashboard notebooks exercises bench clean always

help: ## list these commands
	@echo "mlkit: machine learning for trading, a course you can run"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## install into .venv, and nothing else; the others do it when they need it

course: $(INSTALLED) ## run every lesson, then read runs/course/index.html
	@$(PY) -m mlkit run

test: $(FOR_TESTS) ## unit tests, properties, every notebook against its outputs and on another market
	@$(if $(DEEP_LEFT_OUT),echo "$(DEEP_LEFT_OUT) needs torch and is left out: make test DEEP=1 runs it too.")
	@$(PY) -m pytest -n $(JOBS) --dist loadfile $(TESTS)

test-all: override TESTS += --all
test-all: test ## the same, and each lesson on a stock, a currency and a random walk; takes longer

lab: $(INSTALLED) ## open JupyterLab on the start page of the lessons
	@$(PY) -m mlkit lab $(LAB)

site: $(INSTALLED) ## write the lessons as web pages, then read runs/site/index.html
	@$(PY) -m mlkit site

dashboard: $(INSTALLED) $(VENV)/.ready-dashboard ## the decision report as a page with controls
	@$(PY) -m mlkit dashboard $(VOILA)

notebooks: $(INSTALLED) ## run the lessons and write their outputs back into the files in git
	@$(PY) -m mlkit notebooks

exercises: $(INSTALLED) $(VENV)/.ready-classroom ## make notebooks/exercises anew from the sources with the solutions
	@$(PY) -m mlkit exercises make

bench: $(INSTALLED) ## measure the engine beside its peers, write benchmarks/README.md
	@$(PY) benchmarks/run.py $(BENCH)

clean: ## remove .venv, .bench, caches, runs/course and runs/site (other runs stay)
	rm -rf $(VENV) .bench build *.egg-info .pytest_cache .hypothesis runs/course runs/site runs/screenshots
	find . '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf {} +

$(READY): requirements.txt pyproject.toml $(MOVED)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "mlkit needs Python 3.11, 3.12 or 3.13. '$(PYTHON)' is `$(PYTHON) --version 2>/dev/null || echo 'not on this machine'`."; \
	  for version in 3.13 3.12 3.11; do command -v python$$version >/dev/null && \
	    echo "There is a python$$version here: make $(MAKECMDGOALS) PYTHON=python$$version"; done; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: its venv module is a package of its own."; \
	  $(PYTHON) -c 'import sys; print("  Debian, Ubuntu:  sudo apt install python%d.%d-venv   (or python3-venv)" % sys.version_info[:2])'; \
	  echo "then run make again."; exit 1; }
	@# an environment never finished, made for another folder, or without its Python is made anew
	@if [ -e $(VENV)/.unfinished ] || { [ -e $(READY) ] && [ "`cat $(READY)`" != "$(HERE)" ]; } || \
	  ! $(PY) -m pip --version >/dev/null 2>&1; then rm -rf $(VENV); fi
	@rm -f $(READY) $(READY)-*
	@mkdir -p $(VENV) && touch $(VENV)/.unfinished
	@[ -x $(PY) ] || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing what the course needs into $(VENV): a minute or two, and only now ..."
	@$(PIP) -r requirements.txt
	@rm $(VENV)/.unfinished && echo "$(HERE)" > $(READY) && echo "Installed."

$(VENV)/.ready-%: requirements-%.txt $(READY)
	@echo "Installing requirements-$*.txt: optional, and only now ..."
	@$(PIP) -r requirements.txt -r $<
	@touch $@
