# Every target makes its own environment from a Python >= 3.11; nothing has to be installed by hand.
#
#   PYTHON=/path/to/python3.13   the interpreter for the environment (default: the first good one found)
#   VENV=.venv                   where the environment is
#   DJANGO='>=6.1,<6.2'          the Django of the environment (default: the newest that fits)
#   ARGS="-k retry -x"           arguments for pytest (test), the benchmarks (bench) or the storm

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?=
VENV ?= .venv
DJANGO ?=
ARGS ?=
# The databases on which the long storm dies at every place; a comma would end an argument of make's $(if).
SWEPT := sqlite,postgres
# django-celery-beat refuses Django 6.1 so far; a run there says TEST_EXTRAS=postgres,pydantic,test
TEST_EXTRAS ?= beat,postgres,pydantic,test

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
PACKAGES := $(if $(DJANGO),"Django$(DJANGO)")

.PHONY: help demo test check bench storm planted clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.demo ## play the shop in the browser; HEADLESS=1 plays it without one
	$(PY) manage.py demo $(if $(filter-out 0,$(HEADLESS)),--headless)

test: $(VENV)/.test ## run the suite on SQLite and on every server that answers; DATABASES=sqlite,postgres picks
	$(PY) -m tests.matrix $(if $(DATABASES),--only $(DATABASES)) -- $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules, migrations, sizes, system checks
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check --fail-level WARNING
	$(PY) -m tests.sizes

bench: $(VENV)/.test ## measure; ARGS="--only steps --database postgres"
	$(PY) -m benchmarks $(ARGS)

storm: $(VENV)/.test ## hurt real workers and servers at random; SEED=1 repeats one, SHORT=1 for CI, LONG=1 takes two hours
	$(PY) -m tests.storm $(if $(SEED),--seed $(SEED)) $(if $(filter-out 0,$(SHORT)),--short) \
	    $(if $(filter-out 0,$(LONG)),--long) $(ARGS)
	$(if $(filter-out 0,$(LONG)),DURABLE_CRASH_STRIDE=1 DURABLE_TEST_LIMIT_SECONDS=14400 \
	    $(PY) -m tests.matrix --only $(SWEPT) -- tests/crash)
	$(if $(filter-out 0,$(LONG)),$(PY) -m tests.generated --programs 100000 $(if $(SEED),--seed $(SEED)))
	$(if $(filter-out 0,$(LONG)),$(PY) -m tests.cadence)

planted: $(VENV)/.test ## plant known bugs in copies of the code; the tests must catch each; ARGS="--only no-sweep"
	$(PY) -m tests.planted $(ARGS)

clean: ## remove the environments, the databases of the test project and the caches
	rm -rf .venv .venv-* var build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find django_durable testproject tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp a target's packages: made again when pyproject.toml changes.
$(VENV)/.demo: pyproject.toml | $(PY)
	@echo "Installing what the demo needs into $(VENV)"
	@$(PIP) install --editable ".[beat]" $(PACKAGES)
	@touch $@

$(VENV)/.test: pyproject.toml | $(PY)
	@echo "Installing what the tests need into $(VENV)"
	@$(PIP) install --editable ".[$(TEST_EXTRAS)]" $(PACKAGES)
	@$(install_mysqlclient)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(PY)
	@echo "Installing what the checks need into $(VENV)"
	@$(PIP) install --editable ".[dev]" $(PACKAGES)
	@touch $@

# Built from source, so it may fail; then the suite's closing table says that MariaDB was not covered, and why.
define install_mysqlclient
if ! $(PIP) install --editable ".[mysql]" $(PACKAGES) >$(VENV)/mysqlclient.log 2>&1; then \
    echo "mysqlclient could not be installed (see $(VENV)/mysqlclient.log): MariaDB will not be covered."; \
fi
endef

# Each candidate is run, not only looked up: a version manager's shim may stand for an interpreter that is not there.
$(PY):
	@found=; seen=; \
	for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14 python); do \
	    version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	        seen="$$seen $$candidate is $$version;"; \
	    elif ! "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then \
	        seen="$$seen $$candidate has no venv module (on Debian: apt install python$$version-venv);"; \
	    else \
	        found=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "No usable Python >= 3.11 found:$${seen:- none answers;} name one: make PYTHON=/path/to/python3.12 ..." >&2; \
	    exit 1; \
	fi; \
	echo "Making $(VENV) with $$found ($$version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
