# Everything starts here: `make repro` builds the data set and the model, `make test` tests as well.
# Needs Python 3.11 or later, git and make. Another Python: `make repro PYTHON=python3.12`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help set-up repro retry review test check schema

CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
VENV := .venv
# What the environment was made from; written last, so that half an environment is rebuilt.
STAMP := $(VENV)/made-from
# What the library and its command `darkroom` were installed from, where they lie.
INSTALLED := $(VENV)/installed-from

# DVC runs the stages' `python`, hence the environment comes first on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 2
unexport PYTHONHOME PYTHONPATH

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

# pip compiles on one core, compileall on all; files that are no Python for us only fail there.
set-up: ## create .venv, or rebuild it when requirements or the Python version changed
	@command -v git >/dev/null || { echo "error: git is not installed" >&2; exit 1; }
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || { \
	  echo "error: $(CURDIR) is not a git checkout that git trusts, which DVC needs." >&2; \
	  echo "  A downloaded archive has no history: use git clone. Git's own words:" >&2; \
	  git rev-parse --is-inside-work-tree; exit 1; }
	@python=; seen=; for each in $(CANDIDATES); do \
	  version=$$($$each -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) \
	    || continue; \
	  seen="$$seen $$each=$$version"; \
	  $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { python=$$each; break; }; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: expected Python 3.11 or later, got:$${seen:- none of $(CANDIDATES)}." >&2; \
	  echo "  Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or name it:" >&2; \
	  echo "  make $(or $(MAKECMDGOALS),repro) PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	made_from="$$($$python -c 'import sys; print(sys.version, sys.base_prefix)' | tr '\n' ' ') \
	$$(cat requirements*.txt | cksum)"; \
	[ -x $(VENV)/bin/python ] && [ "$$made_from" = "$$(cat $(STAMP) 2>/dev/null)" ] && exit 0; \
	minor=$${version%.*}; \
	$$python -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $$python ($$version) has no venv module. Debian and Ubuntu bring it with" >&2; \
	  echo "  apt install python$$minor-venv    (or python3-venv for the system's own Python)" >&2; \
	  exit 1; }; \
	echo "Setting up $(VENV) with Python $$version: some minutes, once"; \
	rm -rf $(VENV) && $$python -m venv $(VENV) || exit 1; \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile \
	  -r requirements-dev.txt || { \
	  echo "error: the pinned packages did not install; pip's reason is above." >&2; \
	  echo "  They exist for Python 3.11 to 3.13, this is $$version." >&2; exit 1; }; \
	$(VENV)/bin/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true; \
	printf '%s\n' "$$made_from" >$(STAMP)
	@[ "$$(cksum <pyproject.toml)" = "$$(cat $(INSTALLED) 2>/dev/null)" ] && exit 0; \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --editable . && cksum <pyproject.toml >$(INSTALLED)

repro: set-up ## run the stages that are out of date
	dvc repro

retry: set-up ## try again what could not be fetched, and that alone; then as repro
	darkroom retry
	dvc repro

review: set-up ## open a local page to decide by hand on copies, conflicts and rejected images
	darkroom review

test: repro ## the same, then the tests
	python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --no-loadscope-reorder

check: set-up ## format, lint, types
	ruff format --check .
	ruff check .
	mypy

schema: set-up ## write params.schema.json, which editors read
	python -m tools.params_schema
