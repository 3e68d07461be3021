# Everything runs in .venv, which the targets set up for themselves from the locks. PYTHON=... chooses the interpreter.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test years forgeries coverage check lint typecheck package wheel deploychecks audit bench format lock setup clean

# In percent, branches counted; for `make coverage`.
COVERAGE ?= 95
PYTEST_ARGS ?=
BENCH_ARGS ?=
YEARS_ARGS ?=
export PYTHON

help:  ## say what there is
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z]+):.*## /  make \1	/' | expand -t 20

demo:  ## the main job, end to end, in the embedded sandbox; no account, no network
	@.ci/venv cli
	@.venv/bin/rotator demo

test: setup  ## every test
	@HYPOTHESIS_PROFILE=ci .venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

years: setup  ## two simulated years, of which `make test` plays five months (five minutes; YEARS_ARGS="--seed 7")
	@.venv/bin/python -m tests.chaos.two_years $(YEARS_ARGS)

forgeries: setup  ## every forgery of a label writer at every call, of which `make test` tries a sample (an hour)
	@.venv/bin/python -m tests.chaos.forged_runs

coverage: setup  ## what the tests run of the program; tracing takes as long again, so it is not a part of `make test`
	@HYPOTHESIS_PROFILE=ci .venv/bin/python -m pytest -n auto --dist loadfile --ignore=tests/chaos --cov --cov-report=term --cov-fail-under=$(COVERAGE) $(PYTEST_ARGS)

check: lint typecheck wheel package deploychecks audit test  ## what CI checks

lint: setup  ## ruff, and the layers (import-linter)
	@.venv/bin/python -m ruff check .
	@.venv/bin/lint-imports --no-cache --no-logo

typecheck: setup  ## mypy, strictly
	@.venv/bin/python -m mypy

package: setup  ## dist/rotator-lambda.zip, for the Lambda (BUNDLE_BOTO3=1: with boto3)
	@.venv/bin/python .ci/package

deploychecks:  ## serverless.yml and terraform/, each by its own tools
	@.ci/deploy-checks

audit: setup  ## known vulnerabilities of the pinned dependencies, where that can be asked
	@.ci/audit-deps

bench: setup  ## cold start, sweeps, planner: ratios and counts (BENCH_ARGS="--sweeps 100 --plans 1000 --cold 1": smaller)
	@.venv/bin/python -m tests.bench $(BENCH_ARGS)

wheel: setup  ## the wheel can be built and holds what it should
	@rm -f dist/*.whl
	@.venv/bin/python -m hatchling build -t wheel >/dev/null 2>&1 || .venv/bin/python -m hatchling build -t wheel
	@.venv/bin/python -m zipfile -l dist/*.whl >dist/wheel-files.txt
	@grep -q 'rotator/py.typed' dist/wheel-files.txt || { echo 'the wheel lacks rotator/py.typed' >&2; exit 1; }
	@! grep -E '^tests/' dist/wheel-files.txt || { echo 'the wheel holds tests' >&2; exit 1; }

format: setup  ## sort imports and fix what ruff can fix
	@.venv/bin/python -m ruff check --fix .

lock: setup  ## choose the newest versions anew, for every Python and platform (needs a package index)
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.ci/lock

setup:
	@.ci/venv dev

clean:  ## remove what was set up, built and cached
	rm -rf .venv dist build htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find rotator tests -name __pycache__ -type d -prune -exec rm -rf {} +
