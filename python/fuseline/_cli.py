"""The console script `fuseline`: the same command line as the binary that cargo builds."""

import signal
import sys

from fuseline._fuseline import command_line


def main():
    # The command line answers Ctrl-C itself. Python's handler would only note it, and raise
    # KeyboardInterrupt after everything is over.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(command_line(["fuseline", *sys.argv[1:]]))
