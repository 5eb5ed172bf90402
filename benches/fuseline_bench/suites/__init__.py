"""One module a suite; each has `run(run)`, and its docstring states hypothesis and axes."""
