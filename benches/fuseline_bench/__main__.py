"""The suites with peers: `python -P -m fuseline_bench SUITE`, usually through the program `fuseline-bench`.

    fuseline-bench primitives --rows 20000000 --threads 2

Suites: udf-models, plus-one, primitives, frames, tpch; `report` makes HTML, Markdown and plots of what lies
under --out. Options are those of `fuseline-bench`, which hands them on.
"""

import argparse
import contextlib
import importlib
import os
import pathlib
import sys

from .measure import Differs
from .results import Results

SUITES = ["udf-models", "plus-one", "primitives", "frames", "tpch"]


class Run:
    """One run of a suite: its options, results and progress."""

    def __init__(self, suite, options, more=False):
        self.suite = suite
        self.options = options
        self.results = Results(suite, options, more)
        self._bar = None

    def wants(self, peer):
        """Whether a peer is asked for; one that is not is named."""
        peers = self.options.peers
        wanted = peers is None or peer in peers.split(",")
        if not wanted:
            self.results.missing(peer, "not asked for (--peers)")
        return wanted

    @contextlib.contextmanager
    def case(self, name):
        """A case whose sides may disagree: then it is noted as such and the others go on."""
        try:
            yield
        except Differs as error:
            self.results.differs(name, error)

    def takes(self, case):
        """Whether a case is asked for."""
        return self.options.only is None or self.options.only in case

    def repeats(self, usual, quick=3):
        """Rounds at most."""
        return self.options.repeat or (quick if self.options.quick else usual)

    def rows(self, usual, quick):
        """Rows of the suite's tables."""
        return self.options.rows or (quick if self.options.quick else usual)

    def progress(self, cases):
        """The cases one after the other, under a progress bar."""
        try:
            from tqdm import tqdm
        except ImportError:
            yield from cases
            return
        with tqdm(cases, desc=f"{self.suite:12}", leave=True, dynamic_ncols=True) as bar:
            for case in bar:
                bar.set_postfix_str(case if isinstance(case, str) else str(case[0]))
                yield case


def parse(arguments):
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="fuseline_bench", description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=[*SUITES, "report"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--peers", help="with commas; none for none")
    parser.add_argument("--only")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/bench"))
    parser.add_argument("--machine", help="what fuseline-bench knows of the machine, as JSON")
    parser.add_argument("--part", help="for suites that run in several processes")
    options = parser.parse_args(arguments)
    words = ["--quick"] if options.quick else []
    for name in ("rows", "threads", "repeat"):
        if getattr(options, name) is not None:
            words.append(f"--{name} {getattr(options, name)}")
    for name in ("peers", "only"):
        if getattr(options, name) is not None:
            words.append(f"--{name} '{getattr(options, name)}'")
    options.text = " ".join(words)
    options.asked_threads = options.threads
    options.threads = options.threads or len(os.sched_getaffinity(0))
    return options


def main(arguments=None):
    """Runs a suite, or writes the report."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.suite == "report":
        from . import report

        report.write(options.out)
        return
    module = importlib.import_module(f".suites.{options.suite.replace('-', '_')}", __package__)
    run = Run(options.suite, options, more=options.part is not None)
    module.run(run)
    if options.part is None:
        run.results.finish()
        if run.results.wrong:
            raise SystemExit(f"{options.suite}: answers differ: {'; '.join(run.results.wrong)}")


if __name__ == "__main__":
    main()
