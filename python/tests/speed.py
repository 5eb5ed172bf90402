"""Timing for tests that assert how fast something is, on machines that others use too.

Others only ever make a run slower, so the quickest of several runs says what the code needs. The
sides of a comparison take turns: what slows the machine down slows all of them. And bare Python
processes do the like in the same turns: where even they miss the limit, it is the machine that
misses it.
"""

import socket
import subprocess
import sys
import textwrap
import time


def in_turns(sides, holds, rounds):
    """The quickest run of each side, in seconds by name; stops as soon as `holds` says so of them.

    Every side runs at least three times, and at most `rounds` times.
    """
    quickest = dict.fromkeys(sides, float("inf"))
    for done in range(1, rounds + 1):
        for name, run in sides.items():
            started = time.perf_counter()
            run()
            quickest[name] = min(quickest[name], time.perf_counter() - started)
        if done >= 3 and holds(quickest):
            break
    print(", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in quickest.items()))
    return quickest


class BareProcess:
    """A Python process without fuseline. It runs `code`, with a connected `peer`, from then on."""

    def __init__(self, code, *descriptors):
        self.peer, theirs = socket.socketpair()
        start = f"import socket, sys\npeer = socket.socket(fileno={theirs.fileno()})\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", start + textwrap.dedent(code), *map(str, descriptors)],
            pass_fds=[theirs.fileno(), *descriptors],
        )
        theirs.close()

    def ask(self):
        """Has it work, without waiting."""
        self.peer.sendall(b"?")

    def answer(self):
        """Waits for its answer."""
        if self.peer.recv(1) == b"":
            raise RuntimeError("the process has ended")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()
        self.process.wait(10)
