# Needs GNU make and Python 3.10 to 3.13 with venv or pip; brings everything else. `make` lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test quick lint soak bench docs constraints clean python

PYTHON ?=
IMAGES ?=
UV_VERSION := 0.13.9
STUDIO_VERSION := 1.23.2

export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT := 300
# Once here, instead of at the first start: until then each command takes seconds more.
export UV_COMPILE_BYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

# The first of these that runs and is new enough: its path, and its version.
PROBE := import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit(1); print
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10)
FOUND := $(shell for p in $(CANDIDATES); do $$p -c '$(PROBE)(sys.executable)' 2>/dev/null && break; done)
VERSION := $(if $(FOUND),$(shell '$(FOUND)' -c '$(PROBE)("%d.%d" % v)'))

UV := .tools/bin/uv
BIN := .venv/bin
STUDIO := .venv-labelstudio/bin/label-studio

# Stamps: what is installed, for which Python, newer than the files that say what to install.
TOOLS := .tools/.uv-$(UV_VERSION)
PRODUCT := .venv/.ready-$(VERSION)
STUDIO_READY := .venv-labelstudio/.ready-$(STUDIO_VERSION)-$(VERSION)
BROWSER := .tools/chromium

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo
	@echo "  PYTHON=python3.12 chooses the Python (now: $(or $(FOUND),none found))"

setup: $(PRODUCT) $(STUDIO_READY) ## install ClickPick and Label Studio into .venv and .venv-labelstudio

demo: setup ## Label Studio and ClickPick with projects to try; IMAGES=folder for your own photographs
	@$(BIN)/clickpick demo --label-studio $(STUDIO) $(if $(IMAGES),--images '$(IMAGES)')

test: setup $(BROWSER) lint ## everything: lint, types, unit, integration and browser tests
	@CLICKPICK_LABEL_STUDIO='$(STUDIO)' CLICKPICK_CHROMIUM="$$(cat $(BROWSER))" $(BIN)/pytest

quick: lint ## lint, types and unit tests
	@$(BIN)/pytest -m 'unit and not integration'

lint: $(PRODUCT) ## ruff, mypy and import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

soak: setup $(BROWSER) ## the long tests, in full, and those in the browser with the engine ray: hours
	@CLICKPICK_SOAK=1 CLICKPICK_LABEL_STUDIO='$(STUDIO)' CLICKPICK_CHROMIUM="$$(cat $(BROWSER))" \
		$(BIN)/pytest -m slow -o timeout=3600
	@CLICKPICK_SOAK=1 CLICKPICK_TEST_ENGINE=ray CLICKPICK_LABEL_STUDIO='$(STUDIO)' \
		CLICKPICK_CHROMIUM="$$(cat $(BROWSER))" $(BIN)/pytest tests/e2e -o timeout=3600

bench: setup ## the figures of the README, as JSON lines
	@for script in clicks rounds retrain; do echo "$$script" >&2; $(BIN)/python -m benchmarks.$$script || exit 1; done

docs: $(PRODUCT) ## the documentation as a site in build/docs
	@$(BIN)/python -m scripts.docs_pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/docs/index.html; for the search, serve it: python3 -m http.server --directory build/docs"

constraints: $(TOOLS) ## resolve constraints*.txt again, to the newest versions
	@scripts/constraints.sh '$(UV)' '$(STUDIO_VERSION)'

clean: ## remove environments, caches and build results; the demo's data (.demo) stays
	rm -rf .tools .venv .venv-labelstudio build dist artifacts *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find backend label_config model_zoo tests -name __pycache__ -prune -exec rm -rf {} +

python:
	@test -n '$(FOUND)' || { echo "no Python 3.10 to 3.13 among: $(CANDIDATES)." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }

$(TOOLS): | python
	@echo "[1/3] installer: uv $(UV_VERSION) into .tools, with $(FOUND) ($(VERSION))"
	@rm -rf .tools
	@{ '$(FOUND)' -m venv .tools && .tools/bin/python -m pip install --quiet uv==$(UV_VERSION); } >/dev/null 2>&1 \
		|| '$(FOUND)' -m pip install --quiet --upgrade --target .tools uv==$(UV_VERSION) \
		|| { echo "could not install uv $(UV_VERSION): $(FOUND) needs the module venv or pip" \
			"(Debian, Ubuntu: apt-get install python3-venv) and access to a package index" >&2; exit 1; }
	@touch $@

# $(call environment,folder): a virtual environment of the chosen Python; one that is there already is kept.
environment = $(1)/bin/python -c '$(PROBE)("")' >/dev/null 2>&1 \
	&& test "$$($(1)/bin/python -c '$(PROBE)("%d.%d" % v)')" = '$(VERSION)' \
	|| $(UV) venv --quiet --clear --python '$(FOUND)' $(1)

$(PRODUCT): $(TOOLS) pyproject.toml constraints.txt | python
	@echo "[2/3] ClickPick into .venv: on Linux 3 GB to download the first time, most of it PyTorch with CUDA"
	@$(call environment,.venv)
	@$(UV) pip install --python .venv -e '.[offline,dev]' -c constraints.txt
	@rm -f .venv/.ready-* && touch $@

$(STUDIO_READY): $(TOOLS) constraints-labelstudio.txt | python
	@echo "[3/3] Label Studio $(STUDIO_VERSION) into .venv-labelstudio: 200 MB more to download the first time"
	@$(call environment,.venv-labelstudio)
	@$(UV) pip install --python .venv-labelstudio label-studio==$(STUDIO_VERSION) \
		-c constraints-labelstudio.txt --build-constraint constraints-labelstudio.txt
	@rm -f .venv-labelstudio/.ready-* && touch $@

$(BROWSER): scripts/chromium.sh $(PRODUCT)
	@scripts/chromium.sh $(BIN) > $@.new && mv $@.new $@
