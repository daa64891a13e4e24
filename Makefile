PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo check test lint audit install clean

demo: install  ## simulate a small cohort, run everything, end with the path of the report
	$(BIN)/srrd simulate demo/cohort --knees 18 --seed 1
	$(BIN)/srrd run --cohort demo/cohort --out demo/run || [ $$? -eq 1 ]  # 1: a knee failed, and the report says which

check: lint  ## style, types, and every test that needs no Ray and no training: before each commit
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not ray and not training and not slow"

test: install  ## every test: those with Ray one by one in one session, and beside them all others
	@mkdir -p build; $(BIN)/python -m pytest -m "not ray" --durations=10 > build/tests-without-ray.txt 2>&1 & others=$$!; \
	$(BIN)/python -m pytest -m ray --durations=25; ray=$$?; \
	wait $$others; others=$$?; cat build/tests-without-ray.txt; exit $$((ray + others))

lint: install  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install  ## known holes in the tested versions; where the index or the list of holes does not answer, it says so and ends well
	.ci/audit

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.11 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
