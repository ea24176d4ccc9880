"""``python -m sandbox trace [OPERATION_ID]``: the spans of one operation as a tree with times."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sandbox.app_settings import SPANS_FILE
from sandbox.contract import Contract, ContractError
from shared.naming import trace_of

LISTED = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of the file of spans."""

    trace: str
    span: str
    parent: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    error: str
    fields: dict[str, Any]
    links: list[str]

    @property
    def took(self) -> str:
        """Its duration: milliseconds, or seconds from ten on."""
        ms = (self.end_ns - self.start_ns) / 1e6
        return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``trace``."""
    parser.add_argument(
        "operation", nargs="?", default="", help="its id; without it, the last ones are listed"
    )
    parser.add_argument("--contract", required=True, metavar="FILE", help="- for standard input")


def run(arguments: argparse.Namespace) -> int:
    """Print the tree of one operation, or a list of the last ones."""
    try:
        contract = Contract.load(arguments.contract)
    except (ContractError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    spans = read(Path(contract.state_dir) / SPANS_FILE)
    if not arguments.operation:
        print("\n".join(listed(spans)))
        return 0
    lines = list(tree(spans, arguments.operation))
    if not lines:
        print(
            f"nothing is told of {arguments.operation}: python -m sandbox trace lists the last ones",
            file=sys.stderr,
        )
        return 1
    print("\n".join(lines))
    return 0


def read(file: Path) -> list[Told]:
    """Spans of a file in the order of their beginnings; a line that is being written is left out."""
    found: dict[tuple[str, str], Told] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                told = Told(**json.loads(line))
            except ValueError:
                continue
            # What was told twice after a crash is the same span.
            found[told.trace, told.span] = told
    return sorted(found.values(), key=lambda told: (told.start_ns, told.end_ns))


def listed(spans: Iterable[Told]) -> list[str]:
    """The last operations that have ended, the newest last."""
    ended = [told for told in spans if not told.parent and "operation_id" in told.fields]
    return [
        f"{told.fields['operation_id']}  {told.name:8} {told.fields.get('connection', '')}"
        f"  {told.fields.get('state', '')}  {told.took}"
        for told in ended[-LISTED:]
    ] or ["no operation has ended yet"]


def tree(spans: Sequence[Told], operation_id: str) -> Iterator[str]:
    """Lines of one operation's trace: when, how long, what below what, and how it ended."""
    trace_id, first_id = trace_of(operation_id)
    own = [told for told in spans if told.trace == trace_id]
    if not own:
        return
    first = next((told for told in own if told.span == first_id), None)
    fields = first.fields if first else own[0].fields
    what = f"{first.name} {fields.get('connection', '')}" if first else "has not ended"
    yield f"{what}  {_end(first) if first else ''}".rstrip()
    yield f"operation {operation_id}, trace {trace_id}"
    begin_ns = min(told.start_ns for told in own)
    yield f"{'at':>10}  {'took':>8}"
    if first:
        yield _line(first, begin_ns, "")
    below: dict[str, list[Told]] = {}
    for told in own:
        if told is not first:
            below.setdefault(told.parent, []).append(told)
    yield from _branches(below, first_id, begin_ns, "")


def _branches(below: dict[str, list[Told]], parent: str, begin_ns: int, indent: str) -> Iterator[str]:
    children = below.get(parent, [])
    for index, told in enumerate(children):
        last = index == len(children) - 1
        yield _line(told, begin_ns, indent + ("└─ " if last else "├─ "))
        yield from _branches(below, told.span, begin_ns, indent + ("   " if last else "│  "))


def _line(told: Told, begin_ns: int, stem: str) -> str:
    at = (told.start_ns - begin_ns) / 1e9
    return f"{at:>+9.3f}s  {told.took:>8}  {stem}{told.name}  {_end(told)}".rstrip()


def _end(told: Told) -> str:
    fields = told.fields
    says = [
        fields.get("outcome", ""),
        fields.get("state", ""),
        str(fields.get("status", "")),
        fields.get("code", ""),
    ]
    if told.error and told.error not in says:
        says.append(told.error)
    return " ".join(one for one in says if one)
