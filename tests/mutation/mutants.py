"""Every small mistake that somebody could make in a module, as edits of its source.

Written here because the tools on PyPI leave out what this product's core is made of: they mutate neither
tables at module level nor entries of ``update={...}``, remove no statement and negate no condition.
"""

from __future__ import annotations

import ast
import collections
import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping

_SWAPS: Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_EDIT_CHARACTERS = 70
_WORD = re.compile(r"\S+")
_QUIET = re.compile(r"(self\.)?(log|logger|logging)\b.*|log\.\w+\(.*", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Mutant:
    """One edit.

    Attributes:
        file: path below the root, for example ``shared/engine.py``.
        function: qualified name of the function or class around it, ``-`` at module level.
        line: first line of what is edited, from 1.
        last_line: last line of it.
        edit: what is done, for people.
        number: tells the same edit at several places of one function apart, from 1.
        source: the whole module after the edit.
    """

    file: str
    function: str
    line: int
    last_line: int
    edit: str
    number: int
    source: str

    @property
    def key(self) -> str:
        """Names the mutant as long as the code it edits stays as it is, wherever that moves."""
        return f"{self.file} {self.function}: {self.edit}" + (f" #{self.number}" if self.number > 1 else "")


class _Writer(ast.NodeVisitor):
    """Collects edits as (function, node, new text, what is done)."""

    def __init__(self) -> None:
        self.found: list[tuple[str, ast.AST, str, str]] = []
        self._names: list[str] = []
        self._bound: list[set[str]] = [set()]

    def add(self, node: ast.AST, new: ast.AST | str, *, without: ast.AST | str = "") -> None:
        text = new if isinstance(new, str) else ast.unparse(ast.fix_missing_locations(new))
        dropped = without if isinstance(without, str) else ast.unparse(without)
        edit = f"without {_short(dropped)} in" if dropped else f"{_short(text)} for"
        edit = f"{edit} {_short(ast.unparse(node))}"
        if isinstance(node, ast.expr):
            text = f"({text})"
        self.found.append((".".join(self._names) or "-", node, text, edit))

    def _changed(self, node: ast.AST, *, without: ast.AST | str = "", **fields: object) -> None:
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        self.add(node, new, without=without)

    # --- where we are ----------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope(node, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # Annotations and decorators are no behaviour; defaults are.
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self._scope(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def _scope(
        self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, body: list[ast.stmt]
    ) -> None:
        self._names.append(node.name)
        self._bound.append(set())
        for statement in body:
            self.visit(statement)
        self._bound.pop()
        self._names.pop()

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Texts for people are nobody's branch."""

    # --- statements ------------------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if _QUIET.fullmatch(ast.unparse(node)):
            return
        self.add(node, "pass")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.add(node, "pass")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self.add(node, "pass")
            return
        if not isinstance(node.value, ast.Constant):
            self.add(node, "return None")
        elif node.value.value is None:
            self.add(node, "pass")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self.add(node, "break")

    def visit_Assign(self, node: ast.Assign) -> None:
        names = {one.id for target in node.targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        inner = any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
        if inner or names & self._bound[-1]:
            self.add(node, "pass")
        self._bound[-1] |= names
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._bound[-1] |= {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.add(node, "pass")
        self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Compare) and not (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        ):
            self.add(test, ast.UnaryOp(op=ast.Not(), operand=test))

    # --- expressions -----------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            for swap in _SWAPS[type(operator)]:
                ops = [*node.ops[:index], swap(), *node.ops[index + 1 :]]
                self._changed(node, ops=ops)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for index in range(len(node.values)):
            values = [*node.values[:index], *node.values[index + 1 :]]
            new = values[0] if len(values) == 1 else ast.BoolOp(node.op, values)
            self.add(node, new, without=node.values[index])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.add(node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        swap = _ARITHMETIC.get(type(node.op))
        if swap is not None and not isinstance(node.left, ast.Constant | ast.JoinedStr):
            self._changed(node, op=swap())
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add(node, repr(not value))
        elif isinstance(value, int | float):
            self.add(node, repr(value + 1))
        elif isinstance(value, str) and (not value or _WORD.fullmatch(value)):
            self.add(node, repr("" if value else "mutant"))

    def visit_Call(self, node: ast.Call) -> None:
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None and keyword.arg not in {"detail", "remedy"}:
                kept = [*node.keywords[:index], *node.keywords[index + 1 :]]
                self._changed(node, without=keyword, keywords=kept)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for index in range(len(node.values)):
            keys = [*node.keys[:index], *node.keys[index + 1 :]]
            values = [*node.values[:index], *node.values[index + 1 :]]
            entry = ast.Dict(keys=[node.keys[index]], values=[node.values[index]])
            self.add(node, ast.Dict(keys=keys, values=values), without=entry)
        self.generic_visit(node)

    def visit_Set(self, node: ast.Set) -> None:
        self._elements(node)

    def visit_List(self, node: ast.List) -> None:
        self._elements(node)

    def visit_Tuple(self, node: ast.Tuple) -> None:
        self._elements(node)

    def _elements(self, node: ast.Set | ast.List | ast.Tuple) -> None:
        if len(node.elts) > 1 and not isinstance(getattr(node, "ctx", None), ast.Store):
            for index in range(len(node.elts)):
                kept = [*node.elts[:index], *node.elts[index + 1 :]]
                self._changed(node, without=node.elts[index], elts=kept)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)
        if not isinstance(node.slice, ast.Tuple):
            self.visit(node.slice)


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module; edits that change nothing or do not compile are left out."""
    tree = ast.parse(source)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    raw, before = source.encode(), ast.dump(tree)
    writer = _Writer()
    writer.visit(tree)
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for function, node, new, edit in writer.found:
        assert isinstance(node, ast.stmt | ast.expr)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        mutated = (raw[:begin] + new.encode() + raw[end:]).decode()
        try:
            after = ast.parse(mutated)
        except SyntaxError:
            continue
        if ast.dump(after) == before:
            continue
        seen[function, edit] += 1
        yield Mutant(file, function, node.lineno, node.end_lineno, edit, seen[function, edit], mutated)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EDIT_CHARACTERS else f"{line[:_EDIT_CHARACTERS]}…"
