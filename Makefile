# Everything sets itself up: an environment in .venv with the versions of constraints.txt
# and, on Debian and Ubuntu, the system libraries that Qt and OpenGL need.
#
# Variables:
#   PYTHON=python3.12   the interpreter to build .venv with (3.11 or newer)
#   TORCH_INDEX=URL     a further package index for torch, for example
#                       https://download.pytorch.org/whl/cpu (much smaller on Linux
#                       without an NVIDIA GPU)
#   TORCH=2.13.0        for test-lowest: this torch where no index has the lowest
#   ARGS="..."          more arguments: of pytest for the tests, of napari-wsol for demo, of tools/mutants.py for mutants (--seed, --count,
#                       --only, --jobs)
#   QT_API=pyqt5        the Qt binding of demo and screenshots (default: pyqt6)

.DEFAULT_GOAL := help
SHELL := /bin/sh

QT_API ?= pyqt6
SCREENSHOT ?= docs/images/demo.jpg
export PYTHON TORCH_INDEX QT_API

ENV_PYTHON := .venv/bin/python

.PHONY: help setup demo test coverage test-timm test-oracles test-lowest fuzz lint mutants free screenshots notebooks docs docs-serve clean

help: ## show this list
	@echo "napari-wsol: every target creates what it needs (the first one takes minutes)."
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile \
		| awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@sed -n 's/^#   /  /p' Makefile

setup: ## create or update the environment in .venv
	@sh tools/setup.sh

demo: setup ## open the viewer on a real tissue image with a bundled model
	@sh tools/desktop.sh $(ENV_PYTHON) -m napari_wsol demo $(ARGS)

test: setup ## run all tests; those of the window under PyQt6 and under PyQt5
	@sh tools/desktop.sh sh tools/test.sh $(ARGS)

coverage: setup ## which branches of the core its tests reach; fails below 90 %
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(ENV_PYTHON) -m pytest -m 'not gui and not slow' \
		--ignore=tests/gui --cov --cov-report=term:skip-covered --durations=20 $(ARGS)

test-timm: ## run the tests that need timm, in an environment of their own (several GB)
	@sh tools/apart.sh timm 'timm, torchvision' $(ARGS)

test-oracles: ## compare with captum, grad-cam, quantus, torchcam and torchmil, in an environment of their own (several GB)
	@sh tools/apart.sh oracles 'captum, pytorch_grad_cam, quantus, torchcam, torchmil' $(ARGS)

test-lowest: ## run the tests with the lowest versions allowed, in an environment of their own
	@sh tools/lowest.sh $(ARGS)

fuzz: setup ## 5,000 damaged files of each kind, and five minutes of the monkey
	@NAPARI_WSOL_FUZZ=$${NAPARI_WSOL_FUZZ:-5000} \
		NAPARI_WSOL_FUZZ_SECONDS=$${NAPARI_WSOL_FUZZ_SECONDS:-300} \
		sh tools/desktop.sh sh tools/fuzz.sh $(ARGS)

lint: setup ## style, types, layers
	@sh tools/lint.sh

mutants: setup ## change the core at random places and count what the tests notice
	@$(ENV_PYTHON) tools/mutants.py $(ARGS)

free: setup ## build the code without weights and film into dist/free, BSD-3-Clause alone
	@$(ENV_PYTHON) tools/free.py

screenshots: setup ## take the documentation's pictures of the window: the demo unattended, and more
	@mkdir -p "$$(dirname "$(SCREENSHOT)")"
	@sh tools/desktop.sh $(ENV_PYTHON) -m napari_wsol demo \
		--screenshot "$(SCREENSHOT)" --pictures "$$(dirname "$(SCREENSHOT)")" \
		--exports "$${TMPDIR:-/tmp}/napari-wsol-demo" $(ARGS)
	@sh tools/desktop.sh $(ENV_PYTHON) tools/screenshots.py "$$(dirname "$(SCREENSHOT)")"

notebooks: setup ## run the documentation's notebooks, keep what they print, and draw its figures
	@$(ENV_PYTHON) tools/notebooks.py $(ARGS)
	@$(ENV_PYTHON) tools/figures.py
	@$(ENV_PYTHON) benchmarks/good_and_bad_strokes.py \
		--picture docs/images/strokes-good-and-bad.jpg --page docs/how-to/teach-with-strokes.md

docs: setup ## build the documentation into site/, strictly and without the network
	@NO_MKDOCS_2_WARNING=1 $(ENV_PYTHON) -m mkdocs build --strict $(ARGS)
	@echo "open site/index.html"

docs-serve: setup ## show the documentation at http://127.0.0.1:8000 while you write it
	@NO_MKDOCS_2_WARNING=1 $(ENV_PYTHON) -m mkdocs serve $(ARGS)

clean: ## remove the environments, caches and build products
	rm -rf .venv .venv-lowest .venv-oracles .venv-timm build dist site .pytest_cache .ruff_cache .import_linter_cache .coverage htmlcov
	find . -type d -name __pycache__ -prune -exec rm -rf {} +
