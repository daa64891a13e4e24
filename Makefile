PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARITHMETIC ?= 0

.PHONY: demo check test lint audit docs docs-check install clean

demo: install  ## simulate a small cohort, run everything, end with the path of the report
	$(BIN)/srrd simulate demo/cohort --knees 18 --seed 1 --profile joint
	$(BIN)/srrd run --cohort demo/cohort --out demo/run || [ $$? -eq 1 ]  # 1: a knee failed, and the report says which

check: lint  ## style, types, and every test that needs no Ray and no training: before each commit
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not ray and not training and not slow"

test: install  ## every test, those with Ray in one session beside all others; ARITHMETIC=1 to 9: as another processor, thread number or cohort would have it (.ci/arithmetic)
	@settings=$$(.ci/arithmetic $(ARITHMETIC)) || exit 2; mkdir -p build; \
	echo "arithmetic $(ARITHMETIC): $${settings:-as it is}; again: make test ARITHMETIC=$(ARITHMETIC)"; \
	env $$settings $(BIN)/python -m pytest -m "not ray" --durations=10 > build/tests-without-ray.txt 2>&1 & others=$$!; \
	env $$settings $(BIN)/python -m pytest -m ray --durations=25; ray=$$?; \
	wait $$others; others=$$?; cat build/tests-without-ray.txt; exit $$((ray + others))

lint: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install  ## known holes in the tested versions; where the index or the list of holes does not answer, it says so and ends well
	.ci/audit

docs: $(VENV)/.docs  ## the documentation as a site, in site/; a broken link or an outdated drawing is an error
	$(BIN)/python docs/draw_packages.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # never --quiet: it hides warnings from --strict too

docs-check: install  ## links, commands and tables of the documentation; then the tutorial as it stands, in build/tutorial: half an hour
	$(BIN)/python -m pytest tests/test_documents.py
	rm -rf build/tutorial
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/run_tutorial.py build/tutorial

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[docs]"
	touch $@

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build site *.egg-info
