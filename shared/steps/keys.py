"""A target's keys, fetched where they are needed and forgotten: they go into the cluster's secret alone.

They are in no output, intent, finding or error, so that no row, queue or log holds one.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator

from shared import templates
from shared.errors import MooringError, PermanentError
from shared.facts import at
from shared.steps.base import StepContext

UNTOLD = "the answer is not told: it quotes a value of the settings"
_PIECE = 12
"""Characters of a value that show it: an error's detail is cut, so a part is looked for."""


async def fetched(ctx: StepContext) -> dict[str, str]:
    """What the settings need besides the facts on record, by placeholder; empty without a key.

    Raises:
        PermanentError: ``keys-not-allowed``, ``scope-locked``, ``target-not-found``, ``key-missing``.
        TransientError: Azure cannot be asked.
    """
    spec = ctx.connection.spec
    source = ctx.target.auth[spec.auth_kind].keys
    if source is None:
        return {}
    names = ctx.target.names(spec.target_id) or {}
    place = templates.fill(source.id_template, names)
    try:
        answer = await ctx.outside.resources.list_keys(
            place, action=source.action, api_version=ctx.target.api_version
        )
    except PermanentError as error:
        if error.code != "access-denied":
            raise
        raise PermanentError(
            "keys-not-allowed",
            f"the app may not have keys of {place}",
            remedy="assign the role of infra/roles/keys.json to the app, or connect by workloadIdentity",
        ) from error
    if answer is None:
        raise PermanentError("target-not-found", place)
    found = {name: templates.fill(template, names) for name, template in source.named.items()}
    for name, path in source.fetched.items():
        value = at(answer, path)
        if not isinstance(value, str) or not value:
            raise PermanentError("key-missing", f"{place} answers no {path}")
        found[name] = value
    return found


@contextlib.contextmanager
def untold(values: Iterable[str]) -> Iterator[None]:
    """Let no error out that quotes a credential: an admission webhook's answer may show the whole object.

    Args:
        values: each with a credential in it; looked for as they are and in base64, as secrets have them.
    """
    hidden = [form for one in values for form in (one, base64.b64encode(one.encode()).decode())]
    try:
        yield
    except MooringError as error:
        pieces = (one[at : at + _PIECE] for one in hidden for at in range(max(1, len(one) - _PIECE + 1)))
        if any(piece in error.detail for piece in pieces):
            error.detail, error.args = UNTOLD, (f"{error.code}: {UNTOLD}",)
        raise
