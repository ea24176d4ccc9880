"""Label and field selectors of lists, watches and collection deletes."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.kube.errors import bad_request
from sandbox.kube.resources import Object, Resource

Predicate = Callable[[Object], bool]

_TERM = re.compile(
    r"""\s*(?:
      (?P<absent>!)\s*(?P<absent_key>[^\s,()=!]+)
    | (?P<set_key>[^\s,()=!]+)\s+(?P<set_operator>in|notin)\s*\((?P<values>[^()]*)\)
    | (?P<key>[^\s,()=!]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s,()=!]*)
    | (?P<present_key>[^\s,()=!]+)
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_FIELD_TERM = re.compile(r"\s*([^\s,=!]+)\s*(==|=|!=)\s*([^,]*?)\s*(?:,|$)")


def label_predicate(selector: str) -> Predicate:
    """Parse a label selector.

    Raises:
        ApiError: 400 when it cannot be parsed.
    """
    tests: list[Callable[[dict[str, str]], bool]] = []
    position = 0
    while position < len(selector):
        term = _TERM.match(selector, position)
        if term is None or term.end() == position:
            raise bad_request(f"unable to parse requirement: {selector!r} is no label selector")
        tests.append(_label_test(term))
        position = term.end()
    return lambda candidate: all(test(candidate["metadata"].get("labels") or {}) for test in tests)


def _label_test(term: re.Match[str]) -> Callable[[dict[str, str]], bool]:
    if term["absent"]:
        key = term["absent_key"]
        return lambda labels: key not in labels
    if term["set_operator"]:
        key, values = term["set_key"], {value.strip() for value in term["values"].split(",")}
        if term["set_operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: key not in labels or labels[key] not in values
    if term["operator"]:
        key, value = term["key"], term["value"]
        if term["operator"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    key = term["present_key"]
    return lambda labels: key in labels


def field_predicate(selector: str, resource: Resource) -> Predicate:
    """Parse a field selector.

    Raises:
        ApiError: 400 when it cannot be parsed or the kind has no such selectable field.
    """
    tests: list[Predicate] = []
    position = 0
    while position < len(selector):
        term = _FIELD_TERM.match(selector, position)
        if term is None:
            raise bad_request(f"invalid selector: {selector!r}; can't understand {selector[position:]!r}")
        field, operator, value = term.groups()
        if field not in {"metadata.name", "metadata.namespace", *resource.selectable}:
            what = f"/{resource.version}, Resource={resource.plural}"
            raise bad_request(
                f'Unable to find "{resource.group}{what}" that match label selector "", '
                f'field selector "{selector}": field label not supported: {field}',
            )
        tests.append(_field_test(field, value, equal=operator != "!="))
        position = term.end()
    return lambda candidate: all(test(candidate) for test in tests)


def _field_test(field: str, wanted: str, *, equal: bool) -> Predicate:
    names = field.split(".")

    def test(candidate: Object) -> bool:
        value: object = candidate
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return (("" if value is None else str(value)) == wanted) is equal

    return test
