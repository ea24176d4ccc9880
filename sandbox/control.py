"""Faults and latency of a running sandbox from the command line."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import ssl
import sys
from typing import Any

import aiohttp

from sandbox.contract import Contract, ContractError
from sandbox.faults import FaultRule, LatencyRule


def add_fault_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``fault``."""
    _add_common_arguments(parser)
    parser.add_argument("--status", type=int, default=500)
    parser.add_argument("--times", type=int, default=1, help="how many requests meet it; 0 is for ever")
    parser.add_argument("--skip", type=int, default=0, help="how many matching requests pass first")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--body", default="", help="JSON or text of the answer")
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    parser.add_argument("--after", action="store_true", help="the request takes effect, its answer is lost")
    parser.add_argument("--drop", action="store_true", help="close the connection without an answer")


def add_latency_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``latency``."""
    _add_common_arguments(parser)
    parser.add_argument("--seconds", type=float, default=0.0)


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contract", required=True, metavar="FILE", help="- for standard input")
    parser.add_argument("--part", required=True, help="arm, entra, kubernetes, dataplane, functions ...")
    parser.add_argument("--method", default="")
    parser.add_argument("--path", default=".*", help="regular expression over path and query")
    parser.add_argument("--clear", action="store_true", help="forget all rules of the part")


def run_fault(arguments: argparse.Namespace) -> int:
    """Add a fault rule, or clear all; prints the rules that hold now."""
    try:
        body: Any = json.loads(arguments.body) if arguments.body else None
    except json.JSONDecodeError:
        body = arguments.body
    rule = FaultRule(
        method=arguments.method,
        path=arguments.path,
        times=arguments.times or None,
        skip=arguments.skip,
        status=arguments.status,
        headers=dict(pair.split("=", 1) for pair in arguments.header),
        body=body,
        delay_seconds=arguments.delay_seconds,
        after=arguments.after,
        drop=arguments.drop,
    )
    return _change(arguments, "faults", dataclasses.asdict(rule))


def run_latency(arguments: argparse.Namespace) -> int:
    """Add a latency rule, or clear all; prints the rules that hold now."""
    rule = LatencyRule(method=arguments.method, path=arguments.path, seconds=arguments.seconds)
    return _change(arguments, "latency", dataclasses.asdict(rule))


def _change(arguments: argparse.Namespace, table: str, rule: dict[str, Any]) -> int:
    try:
        contract = Contract.load(arguments.contract)
        url = contract.framed_parts[arguments.part]
    except KeyError:
        there = ", ".join(contract.framed_parts)
        print(f"--part {arguments.part}: no such part; there are {there}", file=sys.stderr)
        return 2
    except ContractError as error:
        print(error, file=sys.stderr)
        return 2
    change = change_rules(f"{url}/sandbox/{table}", contract.ca_file, None if arguments.clear else rule)
    try:
        print(json.dumps(asyncio.run(change)))
    except (aiohttp.ClientError, OSError) as error:
        print(contract.unanswered(error), file=sys.stderr)
        return 2
    return 0


async def change_rules(url: str, ca_file: str, rule: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Add a rule to a part's table, in front of what is there.

    Args:
        url: The table: ``{part}/sandbox/faults`` or ``.../latency``.
        ca_file: The sandbox's CA.
        rule: The rule, or ``None`` to forget all.

    Returns:
        The rules that hold now.
    """
    tls = ssl.create_default_context(cafile=ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        rules: list[dict[str, Any]] = []
        if rule is not None:
            async with session.get(url) as response:
                rules = [rule, *await response.json()]
        async with session.put(url, json=rules) as response:
            response.raise_for_status()
            held: list[dict[str, Any]] = await response.json()
    return held
