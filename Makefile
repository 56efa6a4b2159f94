# make demo, test, long, fuzz, mutation, audit: each does all the set-up in .venv. PYTHON=python3.12 make ... for another interpreter.
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0

.PHONY: demo test long fuzz mutation audit lint types wheel clean

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv/.installed
	$(BIN)/python -m ddpmcodec.eval.demo docs/coffee.png -o demo-out

test: lint types
	$(BIN)/pytest -q -n auto --dist worksteal

# Every flipped bit of ten files, a thousand pictures in one process, eight processes in one place: minutes.
long: .venv/.installed
	$(BIN)/pytest -q -m long -s

# 100,000 files, damaged in every way: minutes.
fuzz: .venv/.installed
	$(BIN)/python tests/fuzz.py

# Small changes to the sources of the format, which the tests have to notice: half an hour. tests/mutation.py says more.
mutation: .venv/.installed
	$(BIN)/pip install -q --disable-pip-version-check cosmic-ray==8.7.0
	$(BIN)/python tests/mutation.py

# Known vulnerabilities of the pinned dependencies: asks a database on the network.
audit: .venv/.installed
	$(BIN)/pip install -q --disable-pip-version-check pip-audit
	$(BIN)/pip-audit -r requirements.lock --require-hashes --disable-pip

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The packages lie side by side here and inside one another once installed: the type checker sees them as installed.
types: .venv/.installed
	rm -rf build/types && mkdir -p build/types
	cp -r ddpmcodec build/types/ && cp -r cli models eval build/types/ddpmcodec/
	cd build/types && ../../$(BIN)/mypy --cache-dir ../../.mypy_cache --config-file ../../pyproject.toml -p ddpmcodec

wheel: .venv/.installed
	$(BIN)/pip wheel -q --no-deps -w dist .
	ls -l dist

clean:
	rm -rf .venv build dist demo-out *.egg-info
