"""The classifier against recorded Azure traffic, where a folder of recordings is given.

``MOORING_RECORDINGS`` names a folder of VCR or go-vcr files (YAML). None are part of this project; CI has
them.
Every error answer in them must be one that a rule knows by its code, and absence is only ever a 404.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.clients.arm_errors import Failure, body_of, judge
from shared.clients.error_rules import RULES, Intent, Service
from shared.errors import PermanentError, TransientError

FOLDER = os.environ.get("MOORING_RECORDINGS", "")
FOREIGN = {
    "containernotfound",
    "deploymentnotfound",
    "parameternotallowed",
    "policydefinitionnotfound",
    "resourcetypenotsupported",
    "storageaccountisnotprovisioned",
}
"""Codes of services that Mooring never calls; they fall back to their status."""


class Answer:
    """A recorded answer, as ``body_of`` reads a response."""

    def __init__(self, text: str) -> None:
        self._text = text

    def text(self) -> str:
        return self._text


def recorded_errors() -> Iterator[tuple[str, str, int, str]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in sorted(Path(FOLDER).glob("**/*.yaml")) if FOLDER else ():
        for interaction in yaml.load(file.read_text(), Loader=loader)["interactions"]:  # noqa: S506 - a safe one
            response: dict[str, Any] = interaction["response"]
            status = response.get("status")
            code = int((status.get("code") if isinstance(status, dict) else response.get("code")) or 0)
            body = response.get("body")
            text = body.get("string") if isinstance(body, dict) else body
            if code >= 400:
                yield file.name, interaction["request"]["method"], code, text or ""


@pytest.mark.skipif(not FOLDER, reason="MOORING_RECORDINGS names no folder of recorded traffic")
def test_every_recorded_error_is_judged_by_its_code_and_absence_is_always_a_404() -> None:
    seen = 0
    unknown: set[str] = set()
    for file, method, status, text in recorded_errors():
        code, message = body_of(Answer(text))
        seen += 1
        known = (Service.ARM, code.lower()) in RULES
        if code and not known and code.lower() not in FOREIGN:
            unknown.add(f"{file}: {method} {status} {code}")
        failure = Failure(service=Service.ARM, status=status, code=code, message=message)
        for intent in Intent:
            error = judge(failure, intent)
            if error is None:
                assert status == 404, (file, code)
                assert intent is not Intent.ENSURE, (file, code)
            elif status == 429:
                assert isinstance(error, TransientError), (file, code)
            else:
                assert isinstance(error, TransientError | PermanentError) or error.code, (file, code)
    assert seen > 50, "the recordings hold errors"
    assert not unknown, sorted(unknown)
