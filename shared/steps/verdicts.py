"""One thing that was looked at: a line for a validation, and what a create makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import NotYetError, PermanentError
from shared.models import Finding
from shared.spec import ConnectionSpec
from shared.targets import TargetType


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """A finding with the code that a create ends with, or the reason that it waits for, if it failed.

    With neither it is only said.
    """

    code: str
    finding: Finding
    waits: str = ""


def of_answer(
    target: TargetType,
    spec: ConnectionSpec,
    answer: Mapping[str, Any],
    *,
    parent: Mapping[str, Any] | None = None,
) -> list[Verdict]:
    """What Azure's answers of a target, and of what it is a part of, say of each condition of its row."""
    target_id = spec.target_id
    names = {
        **(target.names(target_id) or {}),
        "id": target.existence_id(target_id),
        "parent": target.parent_id(target_id),
    }
    verdicts = []
    for condition in target.required(spec.auth_kind):
        seen = (parent or {}) if condition.of_parent else answer
        value = condition.unmet(seen)
        finding = Finding(name=condition.finding, result="ok")
        if value is not None:
            detail, remedy = condition.told(value, names)
            result = "failed" if condition.failed(value, seen) else "warning"
            finding = Finding(name=condition.finding, result=result, detail=detail, remedy=remedy)
        verdicts.append(Verdict(condition.code, finding, condition.waits))
    return verdicts


def unreadable(name: str, error: PermanentError) -> Finding:
    """The finding of what may not be read: it says nothing about what is in it."""
    return Finding(name=name, result="unknown", detail=str(error), remedy=error.remedy)


def obey(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Go on unless one failed; returns what is to be said all the same.

    Raises:
        PermanentError: with the code of the first that failed.
        NotYetError: if that one is only to be waited for.
    """
    said = []
    for verdict in verdicts:
        finding = verdict.finding
        if finding.result == "failed" and verdict.waits:
            raise NotYetError(verdict.waits, finding.detail)
        if finding.result == "failed" and verdict.code:
            raise PermanentError(verdict.code, finding.detail, remedy=finding.remedy)
        if finding.result != "ok":
            said.append(finding.model_dump())
    return said
