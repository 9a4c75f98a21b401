# Short names for the commands that contributors need. CONTRIBUTING.md says how to set up an environment for them.
.DEFAULT_GOAL := help
.PHONY: help check test test-fast proof repro bench docs lint

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check:  ## Run all that CI runs, in a fresh clone of the last commit: about 20 minutes on two cores.
	.ci/run

test:  ## Run all tests but the proofs.
	pytest -n 2 --dist loadfile

test-fast:  ## Run the tests that do not run the real pipeline.
	pytest -n 2 --dist loadfile -m 'not slow and not proof'

proof:  ## Run the tests of half a minute or more that guard what seldom breaks.
	pytest -n 2 --dist loadfile -m proof

repro:  ## Run the stages of the pipeline that a change affects.
	dvc repro

bench:  ## Measure preprocessing and the input of training in their short form; needs the output of `make repro`.
	python benchmarks/preprocess.py --quick
	python benchmarks/input.py --quick

docs:  ## Build the documentation in site/; needs pip install -e '.[docs]'.
	mkdocs build --strict

lint:  ## Check style, formatting, types and the imports between folders.
	ruff check
	ruff format --check
	mypy
	lint-imports
