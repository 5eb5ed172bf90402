"""The console script: the same command line as the binary, and its shell on a real terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fuseline

COMMAND = Path(sys.executable).with_name("fuseline")


def run(*args, **options):
    return subprocess.run(
        [COMMAND, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, **options
    )


def test_the_script_runs_sql():
    done = run("--format", "csv", "SELECT 1 + 1 AS two")
    assert (done.returncode, done.stdout, done.stderr) == (0, "two\n2\n", "")


def test_exit_codes():
    assert run("SELECT nosuch").returncode == 1
    assert run("--nosuch").returncode == 2
    assert run("--version").stdout == f"fuseline {fuseline.__version__}\n"


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fuseline", "--format", "csv", "SELECT 3 AS n"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "n\n3\n")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command, home):
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home), "TERM": "xterm"},
            # Its controlling terminal, so that Ctrl-C typed there is a signal.
            preexec_fn=lambda: os.login_tty(theirs),
            pass_fds=[theirs],
        )
        os.close(theirs)
        self.seen = ""

    def send(self, text):
        os.write(self.terminal, text.encode())

    def expect(self, pattern, seconds=30):
        """Reads until the pattern appears; what was read up to its end is not looked at again."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                self.seen = self.seen[found.end() :]
                return found.group(0)
            left = end - time.monotonic()
            ready, _, _ = select.select([self.terminal], [], [], max(0, left))
            if not ready:
                pytest.fail(f"{pattern!r} did not appear in {self.seen!r}")
            try:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:
                pytest.fail(f"it ended before {pattern!r} appeared in {self.seen!r}")

    def exit_code(self, seconds=10):
        return self.process.wait(timeout=seconds)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def shell(tmp_path):
    terminal = Terminal([str(COMMAND)], tmp_path)
    terminal.expect("fuseline> ")
    yield terminal
    terminal.close()


def test_the_shell_runs_statements_over_lines_and_goes_on_after_errors(shell):
    shell.send("SELECT 40 +\r")
    shell.send("2 AS answer;\r")
    shell.expect(r"answer[\s\S]*42[\s\S]*\(1 row\)")
    shell.expect("fuseline> ")
    shell.send("SELECT nosuch;\r")
    shell.expect(r"error: [\s\S]*nosuch")
    shell.expect("fuseline> ")
    shell.send("SELECT 7 AS seven;\r")
    shell.expect(r"seven[\s\S]*7[\s\S]*\(1 row\)")
    shell.expect("fuseline> ")
    shell.send("\x04")
    assert shell.exit_code() == 0


def test_ctrl_c_stops_the_query_and_not_the_shell(shell):
    shell.send("SELECT sum(sin(value) * cos(value)) FROM range(0, 1000000000000);\r")
    time.sleep(1.5)
    shell.send("\x03")
    shell.expect("error: interrupted", seconds=2)
    shell.expect("fuseline> ")
    # At the prompt it drops what was typed.
    shell.send("SELECT 1 AS dropped")
    shell.send("\x03")
    shell.expect("fuseline> ")
    shell.send("SELECT 5 AS kept;\r")
    shell.expect(r"kept[\s\S]*5[\s\S]*\(1 row\)")
    shell.expect("fuseline> ")
    shell.send(".quit\r")
    assert shell.exit_code() == 0


def test_dot_commands(shell):
    shell.send("CREATE TABLE things AS SELECT value AS v FROM range(0, 3);\r")
    shell.expect("fuseline> ")
    shell.send(".tables\r")
    shell.expect("\nthings\r\n")
    shell.expect("fuseline> ")
    shell.send(".schema things\r")
    shell.expect(r"column_name[\s\S]*v[\s\S]*Int64")
    shell.expect("fuseline> ")
    shell.send(".format csv\r")
    shell.expect("fuseline> ")
    shell.send("SELECT sum(v) AS s FROM things;\r")
    shell.expect("\ns\r\n3\r\n")
    shell.expect("fuseline> ")
    shell.send(".timing on\r")
    shell.expect("timing is on")
    shell.expect("fuseline> ")
    shell.send("SELECT 1;\r")
    shell.expect(r"Time: \d+\.\d+ s")
    shell.expect("fuseline> ")
    shell.send(".nosuch\r")
    shell.expect("unknown command .nosuch")


def test_history_is_kept(shell, tmp_path):
    shell.send("SELECT 'remember me';\r")
    shell.expect(r"\(1 row\)")
    shell.expect("fuseline> ")
    shell.send("\x04")
    assert shell.exit_code() == 0
    again = Terminal([str(COMMAND)], tmp_path)
    try:
        again.expect("fuseline> ")
        again.send("\x1b[A\r")
        again.expect(r"\(1 row\)")
    finally:
        again.close()


def test_a_long_query_draws_a_bar(tmp_path):
    sql = "SELECT count(*) AS n FROM range(0, 1000000000000) WHERE sin(value) > 2"
    terminal = Terminal([str(COMMAND), sql], tmp_path)
    try:
        terminal.expect(r"\d+% [\d,]+ rows", seconds=20)
        terminal.send("\x03")
        terminal.expect("error: interrupted", seconds=5)
        assert terminal.exit_code() == 130
    finally:
        terminal.close()
