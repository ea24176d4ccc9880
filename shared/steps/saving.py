"""What a cluster object was is saved before a prune removes it, as far as it holds no credential.

A secret's values are saved only if the catalogue knows each of its keys, for that target and client type, as
one of a connection through an identity. Anything else is saved as metadata, and it is said that it cannot be
put back, and why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from shared import credential_shapes, naming, setting_values
from shared.errors import PermanentError
from shared.models import Provenance
from shared.ports import KubeObject
from shared.prunes import SavedObject
from shared.steps.base import ANNOTATION_NONCE, StepContext

IDENTITY_AUTH = "userassignedidentity"
"""Folded ``authInfo.authType`` of a Service Connector connection that holds no credential."""
SAVED_CHARACTERS = 16_000
ANNOTATION_CHARACTERS = 512
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's copy of the whole object, a secret's values included (Kubernetes documentation, declarative
management of objects)."""
_TYPES = {"", "Opaque"}
_NAMED = re.compile(
    r"(?i)(password|pwd|passphrase|secret|token|accountkey|accesskey|sharedaccesskey|sharedaccesssignature"
    r"|apikey|sig)\s*[=:]",
)
"""How a value tells that a part of it is a credential."""


async def look(ctx: StepContext, there: KubeObject, *, provenance: str) -> SavedObject:
    """What would be saved of an object that a prune is about to remove; saves nothing."""
    seen, data = there, dict[str, str]()
    why = ""
    spec = ctx.connection.spec
    if there.kind != "ServiceAccount" and not spec.by_identity:
        why = "it holds a key of the target"
    elif there.kind != "ServiceAccount":
        full = await ctx.outside.clusters.get(
            spec.cluster_id, there.kind, there.namespace, there.name, values=True
        )
        if full is None or full.uid != there.uid:
            why = "it changed while it was looked at"
        else:
            seen = full
            why = _fault(ctx, full, provenance)
            data = {} if why else dict(full.data)
    annotations, left_out = _annotations(seen.annotations)
    labels = dict(seen.labels)
    # As they are stored, with quotes and line ends escaped.
    if len(json.dumps([data, labels, annotations], ensure_ascii=False)) > SAVED_CHARACTERS:
        data, labels, annotations = {}, {}, {}
        why = f"it holds more than {SAVED_CHARACTERS} characters"
    preflight = ctx.intents.get("preflight")
    return SavedObject(
        operation_id=ctx.operation.operation_id,
        kind=there.kind,
        namespace=there.namespace,
        name=there.name,
        uid=there.uid,
        labels=labels,
        annotations=annotations,
        secret_type=seen.secret_type,
        data=data,
        left_out=left_out,
        issuer=str(preflight.outputs.get("issuer", "")) if preflight else "",
        restorable=not why,
        why=why,
        saved_at=ctx.now,
    )


def shown(saved: SavedObject) -> Mapping[str, str]:
    """Whether an object can be put back, as items of outputs say it."""
    return {"restorable": "yes"} if saved.restorable else {"restorable": "no", "why": saved.why}


def _fault(ctx: StepContext, secret: KubeObject, provenance: str) -> str:
    """Why the values of a secret or config map are not saved, empty if they are."""
    if secret.secret_type not in _TYPES:
        return f"its type is {secret.secret_type}"
    if provenance != Provenance.CREATED and not _through_identity(ctx):
        return "its connection may have held a credential"
    spec = ctx.connection.spec
    try:
        known = setting_values.harmless(ctx.target, spec)
    except PermanentError:
        return f"the catalogue has no target type {spec.target_type}"
    unknown = sorted(set(secret.data) - known)
    if unknown:
        return f"the catalogue does not know {len(unknown)} of its keys as harmless: {', '.join(unknown[:3])}"
    if any(_like_credential(value) for value in secret.data.values()):
        return "one of its values looks like a credential"
    return ""


def _like_credential(value: str) -> bool:
    """What no value of a passwordless connection has in it, whatever its key."""
    return _NAMED.search(value) is not None or credential_shapes.shaped(value)


def _through_identity(ctx: StepContext) -> bool:
    """Say whether Service Connector's connection was seen to work through an identity while it was alive."""
    seen = ctx.intents.get("preflight")
    auth_type = str(seen.outputs.get("auth", "")) if seen else ""
    if auth_type:
        return auth_type.lower() == IDENTITY_AUTH
    account = ctx.intents.get("service_account")
    return account is not None and account.planned["name"] != naming.service_account_name("")


def _annotations(present: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    kept = {
        name: value
        for name, value in present.items()
        if name not in {LAST_APPLIED, ANNOTATION_NONCE}
        and len(value) <= ANNOTATION_CHARACTERS
        and not _like_credential(value)
    }
    return kept, tuple(sorted(set(present) - set(kept) - {ANNOTATION_NONCE}))[:20]
