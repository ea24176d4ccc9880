"""``python -m sandbox COMMAND``: start a sandbox, tell the story, run pods, break things, show what was."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "up": ("sandbox.up", "add_arguments", "run", "start a whole local Azure"),
    "demo": ("sandbox.demo.command", "add_arguments", "run", "tell a connection's story in a fresh sandbox"),
    "pod": ("sandbox.pod", "add_arguments", "run", "run a pod's command as its node would"),
    "fault": ("sandbox.control", "add_fault_arguments", "run_fault", "make a part answer wrongly"),
    "latency": ("sandbox.control", "add_latency_arguments", "run_latency", "make a part slow"),
    "trace": ("sandbox.trace", "add_arguments", "run", "show the spans of one operation"),
    "catalogue": ("sandbox.catalogue", "add_arguments", "run", "list every target and what becomes of it"),
    "classify": ("sandbox.classify", "add_arguments", "run", "say what becomes of recorded events"),
}
"""Module, its two functions and one line of help for each command. Only what is asked for is imported:
``classify`` and ``catalogue`` need none of the SDKs and are to answer at once."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program, the process's own by default.

    Returns:
        Its exit code.
    """
    words = sys.argv[1:] if words is None else words
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, declare, _, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about)
        if name in words[:1]:
            getattr(importlib.import_module(module), declare)(command)
    arguments = parser.parse_args(words)
    module, _, run, _ = COMMANDS[arguments.command]
    try:
        code = int(getattr(importlib.import_module(module), run)(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # ``| head`` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
