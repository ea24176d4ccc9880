"""``python -m sandbox COMMAND``: start a sandbox, tell the story, run pods, break things on purpose."""

from __future__ import annotations

import argparse
import sys

from sandbox import control, pod, up
from sandbox.demo import command as demo


def main() -> int:
    """Run one command.

    Returns:
        Its exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up.add_arguments(commands.add_parser("up", help="start a whole local Azure"))
    demo.add_arguments(commands.add_parser("demo", help="tell the founding story in a fresh sandbox"))
    pod.add_arguments(commands.add_parser("pod", help="run a pod's command as its node would"))
    control.add_fault_arguments(commands.add_parser("fault", help="make a part answer wrongly"))
    control.add_latency_arguments(commands.add_parser("latency", help="make a part slow"))
    arguments = parser.parse_args()
    runs = {
        "up": up.run,
        "demo": demo.run,
        "pod": pod.run,
        "fault": control.run_fault,
        "latency": control.run_latency,
    }
    return runs[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
