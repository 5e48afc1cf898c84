# What one can do here. Needs Python 3.11 or later with venv, make and git; `make lint` also npm.
# Where PyPI's torch would bring CUDA: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
SHELL := /bin/bash -o pipefail
PIP = .venv/bin/pip install --no-compile --constraint constraints.txt
NARRATE = sed -unE 's!^ *Downloading ([^-]+-[^-]+)-[^ ]+ (\([0-9.]+ MB\)).*!  \1 \2!p; s/^Installing collected.*/  unpacking/p'
PROJECT = constraints.txt pyproject.toml clients/python/pyproject.toml
COACH = .venv-coach/bin/python

demo: .venv/.installed-demo # watch the shipped policy drive; without a screen: ARGS="--headless --steps 300"
	.venv/bin/codriver demo $(ARGS)
coach: .venv-coach/.installed # install what the models behind Triton need; the demo does it too, while it drives
test: .venv/.installed-dev .venv-coach/.installed-dev # all tests; the client's also on the oldest libraries that it allows
	.venv/bin/python tests/compat.py
	.venv/bin/python -m pytest $(if $(ARGS),$(ARGS),-n 2 --dist loadfile)
	$(if $(ARGS),,$(COACH) -m pytest tests/coach_environment)
lint: .venv/.installed-dev .venv-protos/.installed node_modules/.installed # style, types, contract
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy
	protos/check.sh
format: .venv/.installed-dev # fix what can be fixed
	.venv/bin/ruff check --fix; .venv/bin/ruff format
protos: .venv-protos/.installed # generate the stubs anew
	.venv-protos/bin/python protos/generate.py
clean: # remove every environment and cache
	rm -rf .venv .venv-* node_modules .*_cache .hypothesis *.egg-info clients/python/*.egg-info
.PHONY: demo coach test lint format protos clean

.venv/bin/python:
	@echo "Making .venv"; $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later: make PYTHON=...")'
	@$(PYTHON) -m venv .venv
.venv/.installed-demo: $(PROJECT) | .venv/bin/python
	@echo "Installing server, simulator and view: about 610 MB to download, half a minute to unpack"
	@$(if $(TORCH_INDEX),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch==2.13.0 | $(NARRATE))
	@$(PIP) -e clients/python -e '.[serve,sumo,view,feedback]' | $(NARRATE) && touch $@
.venv/.installed-dev: .venv/.installed-demo
	@echo "Installing test tools and linters: about 80 MB"
	@$(PIP) -e clients/python -e '.[serve,sumo,view,train,feedback,dev]' | $(NARRATE) && touch $@
.venv-coach/.installed: constraints-coach.txt pyproject.toml | .venv/.installed-demo
	@.venv/bin/python -m feedback_service.coach_environment && touch $@
.venv-coach/.installed-dev: .venv-coach/.installed
	@$(COACH) -m pip install -q --no-compile --constraint constraints-coach.txt pytest pytest-timeout && touch $@
.venv-protos/.installed: protos/requirements.txt
	@$(PYTHON) -m venv .venv-protos && .venv-protos/bin/pip install -q -r $< && touch $@
node_modules/.installed: package-lock.json
	@npm ci --ignore-scripts --no-audit --no-fund --silent && touch $@
