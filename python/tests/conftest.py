"""What the tests share."""

import pytest

import fuseline


@pytest.fixture
def con():
    with fuseline.connect(threads=2) as con:
        yield con
