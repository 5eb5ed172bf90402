"""What the tests share."""

import signal

import pytest

import fuseline

# A shell without job control starts background programs with SIGINT ignored, and Python keeps it so;
# tests of Ctrl-C, and the programs they start, need the usual handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def con():
    with fuseline.connect(threads=2) as con:
        yield con
