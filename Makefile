# Everything runs in .venv, which the targets set up for themselves from the locks. PYTHON=... chooses the interpreter,
# VENV=... another folder for it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo quick test alltests e2e testtools tools years forgeries coverage check lint typecheck package wheel release deploychecks audit bench docs format lock setup clean

# In percent, branches counted; for `make coverage`.
COVERAGE ?= 95
PYTEST_ARGS ?=
BENCH_ARGS ?=
YEARS_ARGS ?=
VENV ?= .venv
PYTEST = HYPOTHESIS_PROFILE=ci $(VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
export PYTHON VENV

help:  ## say what there is
	@grep -E '^[a-z0-9]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z0-9]+):.*## /  make \1	/' | expand -t 20

demo:  ## the main job, end to end, in the embedded sandbox; no account, no network
	@.ci/venv cli
	@$(VENV)/bin/rotator demo

quick: setup  ## the tests without servers and processes, within a minute
	@$(PYTEST) -m "not slow and not chaos and not e2e" $(PYTEST_ARGS)

test: setup  ## every test but the long chaos runs (some four minutes on two cores)
	@$(PYTEST) -m "not chaos and not e2e" $(PYTEST_ARGS)

alltests: setup  ## every test but `make e2e`
	@$(PYTEST) -m "not e2e" $(PYTEST_ARGS)

e2e: setup  ## the stack on MiniStack, a local AWS: deployed, on schedule, in an emergency, deployed again, removed
	@.ci/e2e

testtools: setup  ## set up the tools that npm and pip have, without which tests are skipped; then as `make tools`
	@.ci/deploy-tools
	@$(VENV)/bin/python .ci/needed_tools.py

tools:  ## what the tests need beside Python packages, what of it is missing, and how to get it
	@.ci/venv dev
	@$(VENV)/bin/python .ci/needed_tools.py

years: setup  ## two simulated years, of which `make check` plays five months (five minutes; YEARS_ARGS="--seed 7")
	@$(VENV)/bin/python -m tests.chaos.two_years $(YEARS_ARGS)

forgeries: setup  ## every forgery of a label writer at every call, of which `make check` tries a sample (an hour)
	@$(VENV)/bin/python -m tests.chaos.forged_runs

coverage: setup  ## what the tests run of the program; tracing takes as long again, so it is not a part of `make test`
	@$(PYTEST) -m "not chaos and not e2e" --cov --cov-report=term --cov-fail-under=$(COVERAGE) $(PYTEST_ARGS)

check:  ## what CI checks: all of this, on every Python that is installed
	@.ci/run

lint: setup  ## ruff (rules, and the formatting, which `make format` makes), and the layers (import-linter)
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m ruff format --check --quiet . || { echo 'not formatted: run "make format"' >&2; exit 1; }
	@$(VENV)/bin/lint-imports --no-cache --no-logo

typecheck: setup  ## mypy, strictly
	@$(VENV)/bin/python -m mypy

package:  ## dist/rotator-lambda.zip, for the Lambda (BUNDLE_BOTO3=1: with boto3)
	@.ci/venv cli
	@$(VENV)/bin/python .ci/package

release: setup  ## dist/release: wheel, sdist, the Lambda's zip, SBOM (CycloneDX), checksums; each installed and run elsewhere
	@$(VENV)/bin/python .ci/release
	@.ci/try-release

deploychecks: setup  ## serverless.yml and terraform/, each by its own tools
	@.ci/deploy-checks

audit: setup  ## known vulnerabilities of the pinned dependencies, where that can be asked
	@.ci/audit-deps

bench: setup  ## cold start, sweeps, planner: ratios and counts (BENCH_ARGS="--sweeps 100 --plans 1000 --cold 1": smaller)
	@$(VENV)/bin/python -m tests.bench $(BENCH_ARGS)

docs: setup  ## docs/cli.md, the picture in README, and the outputs that pages show; CI compares
	@$(VENV)/bin/python .ci/write_docs.py

wheel: setup  ## the wheel can be built and holds what it should
	@rm -f dist/*.whl
	@$(VENV)/bin/python -m hatchling build -t wheel >/dev/null 2>&1 || $(VENV)/bin/python -m hatchling build -t wheel
	@$(VENV)/bin/python -m zipfile -l dist/*.whl >dist/wheel-files.txt
	@for file in py.typed report/page.html.j2 report/page.css evidence/summary.html.j2; do \
	  grep -q "rotator/$$file" dist/wheel-files.txt || { echo "the wheel lacks rotator/$$file" >&2; exit 1; }; done
	@! grep -E '^tests/' dist/wheel-files.txt || { echo 'the wheel holds tests' >&2; exit 1; }

format: setup  ## sort imports, fix what ruff can fix, and format
	@$(VENV)/bin/python -m ruff check --fix .
	@$(VENV)/bin/python -m ruff format --quiet .

lock: setup  ## choose the newest versions again, for every Python and platform (needs a package index)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.ci/lock

setup:
	@.ci/venv dev
	@.ci/scanner-tools

clean:  ## remove what was set up, built and cached
	rm -rf .venv dist build htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find rotator tests -name __pycache__ -type d -prune -exec rm -rf {} +
