"""Reads a Bicep file into plain values, as far as it is literal; what is not stays text.

No compiler of Bicep comes from PyPI, so this knows syntax only: types and meaning are the business of
whoever has the compiler (`.github/workflows/infra.yml`) or another checker.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

PARSER = Parser(Language(tree_sitter_bicep.language()))


class Expr(str):
    """An expression that is no literal, as it is written."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A resource or a module. ``type`` is the module's path, and then ``api_version`` is empty."""

    kind: str
    name: str
    type: str
    api_version: str
    existing: bool
    loop: str
    condition: str
    decorators: tuple[str, ...]
    body: dict[str, Any]

    @property
    def properties(self) -> dict[str, Any]:
        return dict(self.body.get("properties") or {})

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.body.get("params") or {})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A parameter, an output or a variable. ``value`` is ``None`` for a parameter without a default."""

    name: str
    type: str
    value: Any
    decorators: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BicepFile:
    path: Path
    text: str
    errors: tuple[str, ...]
    scope: str
    params: dict[str, Named]
    variables: dict[str, Named]
    outputs: dict[str, Named]
    resources: tuple[Declaration, ...]
    modules: tuple[Declaration, ...]

    def resource(self, type_name: str, name: str = "") -> Declaration:
        """The one declaration of a type that is made here.

        Raises:
            LookupError: there is none, or several.
        """
        found = [
            one
            for one in self.resources
            if one.type == type_name and not one.existing and name in {"", one.name}
        ]
        if len(found) != 1:
            raise LookupError(f"{self.path.name}: {len(found)} of {type_name} {name}")
        return found[0]


def read(path: Path) -> BicepFile:
    return dataclasses.replace(parse(path.read_text(encoding="utf-8")), path=path)


@functools.cache
def parse(text: str) -> BicepFile:
    """The file of that text; its path is not known."""
    root = PARSER.parse(text.encode()).root_node
    named: dict[str, dict[str, Named]] = {"parameter": {}, "variable": {}, "output": {}}
    declared: dict[str, list[Declaration]] = {"resource": [], "module": []}
    scope, pending = "resourceGroup", ()
    for node in root.named_children:
        kind = node.type.removesuffix("_declaration")
        if node.type == "decorators":
            pending = tuple(source(one).removeprefix("@") for one in node.named_children)
            continue
        if node.type == "target_scope_assignment":
            scope = str(value(node.named_children[0]))
        elif kind in named:
            one = _named(kind, node, pending)
            named[kind][one.name] = one
        elif kind in declared:
            declared[kind].append(_declaration(kind, node, pending))
        pending = ()
    return BicepFile(
        path=Path(),
        text=text,
        errors=tuple(_errors(root)),
        scope=scope,
        params=named["parameter"],
        variables=named["variable"],
        outputs=named["output"],
        resources=tuple(declared["resource"]),
        modules=tuple(declared["module"]),
    )


def source(node: Node) -> str:
    return (node.text or b"").decode()


def value(node: Node) -> Any:
    """A literal's value; an ``Expr`` for anything else."""
    if node.type == "string" and all(
        one.type in {"string_content", "escape_sequence"} for one in node.named_children
    ):
        return "".join(source(one).replace("\\'", "'") for one in node.named_children)
    if node.type == "number":
        return int(source(node))
    if node.type in {"boolean", "null"}:
        return {"true": True, "false": False, "null": None}[source(node)]
    if node.type == "array":
        return [value(one) for one in node.named_children if one.type != "comment"]
    if node.type == "object":
        pairs = [one.named_children for one in node.named_children if one.type == "object_property"]
        return {str(_key(pair[0])): value(pair[1]) for pair in pairs}
    return Expr(" ".join(source(node).split()))


def _key(node: Node) -> Any:
    return value(node) if node.type == "string" else source(node)


def _named(kind: str, node: Node, decorators: tuple[str, ...]) -> Named:
    parts = node.named_children
    last = parts[-1] if kind == "variable" or len(parts) > 2 else None
    return Named(
        name=source(parts[0]),
        type="" if kind == "variable" else source(parts[1]),
        value=None if last is None else value(last),
        decorators=decorators,
    )


def _declaration(kind: str, node: Node, decorators: tuple[str, ...]) -> Declaration:
    parts = node.named_children
    type_name, _, api_version = str(value(parts[1])).partition("@")
    body, loop, condition = parts[-1], "", ""
    while body.type in {"for_statement", "if_statement"}:
        inner = body.named_children[-1]
        outer = " ".join(source(one) for one in body.named_children[:-1])
        loop, condition = (outer, condition) if body.type == "for_statement" else (loop, outer)
        body = inner
    before = source(node).partition("=")[0]
    return Declaration(
        kind=kind,
        name=source(parts[0]),
        type=type_name,
        api_version=api_version,
        existing=before.rstrip().endswith(" existing"),
        loop=loop,
        condition=condition,
        decorators=decorators,
        body=value(body) if body.type == "object" else {},
    )


def _errors(node: Node) -> Iterator[str]:
    if node.type == "ERROR" or node.is_missing:
        yield f"line {node.start_point[0] + 1}: {source(node)[:40]!r}"
        return
    for child in node.children:
        if child.has_error or child.is_missing:
            yield from _errors(child)
