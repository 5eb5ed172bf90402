"""The suites that have peers, and the report over all suites; see `__main__.py`."""
