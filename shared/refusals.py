"""How the faults of a request are told: one code, one field, one remedy, and never a credential.

Senders paste connection strings and keys into the wrong property, and a refusal is stored, logged and
answered. So a value is quoted only if it is plain, and never more than 64 characters of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from pydantic_core import ErrorDetails

from shared import credential_shapes
from shared.errors import RefusedError

QUOTED_LENGTH = 64
_CREDENTIAL = re.compile(
    r"[=~]|eyJ|(?i:passw|pwd|secret|token|bearer|credential|account-?key|sharedaccess)"
    r"|(?i:(?:api|access|account)[-_]?key|\bsig\b)",
)
"""What comes with a credential: pairs of key and value, and words for one."""
_MIXED_RUN = re.compile(r"(?=[a-z0-9+]*[A-Z])(?=[A-Za-z+]*[0-9])[A-Za-z0-9+]{24,}")
"""Long runs of mixed letters and digits: most keys, and some long names."""
_RESOURCE_ID = re.compile(r"(?i)/subscriptions/[0-9a-f-]{36}(/[\w().-]+)*/?")
"""An id of Azure, whose names may be as long and mixed as a key."""
_CODES = MappingProxyType(
    {
        "missing": ("missing-property", "this property is required"),
        "extra_forbidden": ("unknown-property", "this property is not known here"),
        "string_type": ("wrong-type", "a string is expected"),
        "too_long": ("too-many-settings", "fewer are accepted"),
    },
)
"""pydantic's error types; all others are an object that is none."""


def like_credential(text: str) -> bool:
    """Say whether a text looks like a credential, or like the name of one."""
    if _CREDENTIAL.search(text) or credential_shapes.shaped(text):
        return True
    return _MIXED_RUN.search(text) is not None and not _RESOURCE_ID.fullmatch(text)


def plain(text: str) -> str:
    """A text as it may be shown: short, ASCII, and nothing that looks like a credential."""
    if like_credential(text):
        return "(not shown)"
    return text.encode("ascii", "backslashreplace").decode()[:QUOTED_LENGTH]


def quoted(value: Any) -> str:
    """The offending value as the end of a sentence, or nothing if it must not be shown."""
    if not isinstance(value, str) or like_credential(value):
        return ""
    return f", not {plain(value)!r}"


def refusal(errors: Sequence[ErrorDetails], *, remedy: str) -> RefusedError:
    """The one refusal that tells most: an unknown property often explains a missing one.

    Args:
        errors: pydantic's, at least one; those of type ``rule`` carry ``code`` and ``rule``.
        remedy: what to do if nothing better is known.
    """
    error = min(errors, key=lambda found: found["type"] != "extra_forbidden")
    field = ".".join(plain(str(part)) for part in error["loc"])
    if error["type"] == "rule":
        code, rule = error["ctx"]["code"], error["ctx"]["rule"] + quoted(error["input"])
    else:
        code, rule = _CODES.get(error["type"], ("wrong-type", "an object is expected"))
    if error["type"] == "extra_forbidden":
        remedy = _spelling(error, errors) or remedy
    return RefusedError(code, f"{field}: {rule}" if field else rule, field=field, remedy=remedy)


def _spelling(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> str:
    """The missing property that an unknown one was probably meant to be."""
    *place, name = (str(part) for part in error["loc"])
    missing = {
        str(other["loc"][-1]).lower(): str(other["loc"][-1])
        for other in errors
        if other["type"] == "missing" and [str(part) for part in other["loc"][:-1]] == place
    }
    close = difflib.get_close_matches(name[:QUOTED_LENGTH].lower(), missing, n=1)
    return f"did you mean {missing[close[0]]}?" if close else ""
