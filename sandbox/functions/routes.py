"""ASP.NET route templates: literals, parameters, constraints, optional parts, catch-alls.

The worker hands a function's route over raw; matching is the host's work. Literals are compared
without case, constraints are those of ASP.NET Core's inline constraint table.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable
from urllib.parse import unquote

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1
_PARAMETER = re.compile(r"(\*{0,2})([A-Za-z_][\w-]*)(.*?)(\?)?", re.DOTALL)


class RouteError(ValueError):
    """A template that this host cannot read."""


def _integer(limit: int) -> Callable[[str, str], bool]:
    def check(value: str, _argument: str) -> bool:
        return re.fullmatch(r"[+-]?\d+", value) is not None and -limit - 1 <= int(value) <= limit

    return check


def _number(value: str, _argument: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", value) is not None


def _guid(value: str, _argument: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _length(value: str, argument: str) -> bool:
    low, _, high = argument.partition(",")
    return int(low) <= len(value) <= int(high or low)


def _range(value: str, argument: str) -> bool:
    low, _, high = argument.partition(",")
    return _integer(_LONG_MAX)(value, "") and int(low) <= int(value) <= int(high)


_CONSTRAINTS: dict[str, Callable[[str, str], bool]] = {
    "int": _integer(_INT_MAX),
    "long": _integer(_LONG_MAX),
    "bool": lambda value, _: value.lower() in {"true", "false"},
    "datetime": lambda value, _: re.match(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}", value) is not None,
    "decimal": _number,
    "double": _number,
    "float": _number,
    "guid": _guid,
    "alpha": lambda value, _: re.fullmatch(r"[A-Za-z]*", value) is not None,
    "minlength": lambda value, argument: len(value) >= int(argument),
    "maxlength": lambda value, argument: len(value) <= int(argument),
    "length": _length,
    "min": lambda value, argument: _integer(_LONG_MAX)(value, "") and int(value) >= int(argument),
    "max": lambda value, argument: _integer(_LONG_MAX)(value, "") and int(value) <= int(argument),
    "range": _range,
    "regex": lambda value, argument: re.search(argument, value, re.IGNORECASE) is not None,
    "required": lambda value, _: value != "",
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    constraints: tuple[tuple[str, str], ...]
    default: str | None

    def accepts(self, value: str) -> bool:
        return all(_CONSTRAINTS[name](value, argument) for name, argument in self.constraints)


class RouteTemplate:
    """One template, ready to match paths."""

    def __init__(self, template: str) -> None:
        self.template = template.strip("/")
        self._parameters: list[_Parameter] = []
        pattern = ""
        for segment in _split(self.template, "/"):
            if segment:
                pattern += self._segment(segment)
        self._pattern = re.compile(f"{pattern}/?", re.IGNORECASE | re.DOTALL)

    def match(self, raw_path: str) -> dict[str, str] | None:
        """Return the route values of a percent-encoded path, or None.

        Absent optional parameters are left out; ``%2F`` in a segment stays encoded.
        """
        segments = [unquote(re.sub("%2[fF]", "%252F", part)) for part in raw_path.strip("/").split("/")]
        path = "/" + "/".join(segments) if segments != [""] else ""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for index, parameter in enumerate(self._parameters):
            value = found[f"p{index}"] or None
            if value is None:
                if parameter.default is not None:
                    values[parameter.name] = parameter.default
                continue
            if not parameter.accepts(value):
                return None
            values[parameter.name] = value
        return values

    def _segment(self, segment: str) -> str:
        pattern = ""
        omissible = False
        catch_all = False
        position = 0
        while position < len(segment):
            if segment[position] != "{":
                end = segment.find("{", position)
                end = len(segment) if end < 0 else end
                pattern += re.escape(segment[position:end])
                position = end
                continue
            end = _closing(segment, position)
            whole = position == 0 and end == len(segment) - 1
            stars, optional = self._parameter(segment[position + 1 : end])
            group = f"p{len(self._parameters) - 1}"
            catch_all = bool(stars)
            pattern += f"(?P<{group}>.*)" if catch_all else f"(?P<{group}>[^/]+?)"
            omissible = whole and (optional or catch_all)
            position = end + 1
        if omissible:
            return f"(?:/{pattern})?"
        return f"/{pattern}"

    def _parameter(self, text: str) -> tuple[str, bool]:
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise RouteError(f"'{{{text}}}' is not a route parameter")
        stars, name, rest, mark = match[1], match[2], match[3], match[4]
        constraints: list[tuple[str, str]] = []
        default: str | None = None
        head, *parts = _split(rest, ":")
        for part in (head, *parts):
            constraint = part
            if "=" in part and "(" not in part:
                constraint, _, default = part.partition("=")
            if not constraint:
                continue
            found = re.fullmatch(r"(\w+)(?:\((.*)\))?", constraint, re.DOTALL)
            if found is None or found[1].lower() not in _CONSTRAINTS:
                raise RouteError(f"route constraint '{constraint}' is not known")
            constraints.append((found[1].lower(), (found[2] or "").replace("{{", "{").replace("}}", "}")))
        self._parameters.append(_Parameter(name, tuple(constraints), default))
        return stars, mark is not None or default is not None


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside of braces and parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "{(") - (letter in "})")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _closing(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    raise RouteError(f"'{text}' has an open brace")
