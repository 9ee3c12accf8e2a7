# One word per chore. Every target installs what it needs into .venv first, and only when that has changed.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CHECKED := src tests $(wildcard benchmarks examples)
TYPED := src tests $(wildcard benchmarks/*.py examples/*.py)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo data-demo test lint types format bench screenshots pico wheel clean

help:  ## show these words
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST)

# Two stamps: the demo needs the [local] extra only; everything else needs all of them.
$(VENV)/.installed-local: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "stepsight needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[local]'
	@touch $@

$(VENV)/.installed-all: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "stepsight needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[local,train,data,bench,ray,serve,dev]'
	@touch $(VENV)/.installed-local $@

venv: $(VENV)/.installed-all  ## make .venv with every extra

demo: $(VENV)/.installed-local  ## answer a bundled question with the shipped model
	$(BIN)/stepsight ask

OUT ?= runs/data-demo
COUNT ?= 200

data-demo: venv  ## make a dataset offline, from questions to exports, in OUT=runs/data-demo
	PATH="$(abspath $(BIN)):$$PATH" examples/data_demo.sh "$(OUT)" $(COUNT)

test: venv  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: venv  ## check style and formatting
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: venv  ## check types
	$(BIN)/python -m mypy $(TYPED)

format: venv  ## rewrite the code in the house format
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

# The other files there are parts of these, or need a server (benchmarks/with_vllm.sh).
bench: venv  ## measure speed, as ratios within one run
	@set -e; for name in search_speed large_search decoding cost_curve judging; do \
		echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py; done

screenshots: venv  ## take the pictures of the page anew; needs Chromium
	PYTHONPATH=. $(BIN)/python docs/images/draw_page.py docs/images

# The steps resume where they stopped, so the same word continues an interrupted run.
pico: venv  ## train the shipped model from its recipes
	@set -e; for recipe in $(sort $(wildcard recipes/pico/*.yaml)); do $(BIN)/stepsight train $$recipe; done
	@echo "the trained model is in runs/pico/6-own-faults/model; the shipped one is in src/stepsight/pico"

wheel: venv  ## build the wheel into dist/
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:  ## remove .venv, builds and caches (keeps runs/)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +
