"""The identity trusts the tokens that the cluster issues to the workload's service account.

An identity holds 20 credentials at most, and overlapping writes to one identity are refused
(Microsoft Entra, "considerations and restrictions for federated identity credentials"): writes
are serialised by a lease per identity, and the budget is looked at before the write.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Provenance
from shared.ports import Credential, Linker
from shared.steps.adopted import still_trusted
from shared.steps.base import StepContext, credential_thing, found
from shared.steps.left_to_linkers import leave_credential_to, only_linkers_stay
from shared.steps.objects import account_of
from shared.steps.removal import (
    MADE_AGAIN,
    Removal,
    credential_lease,
    forget,
    leave,
    live_linkers,
    require_still_gone,
    take_up,
)

BUDGET = 20
PROTECTED = "aks-identity-binding"
"""AKS writes credentials of such names itself, for identity bindings (learn.microsoft.com/azure/aks,
identity-bindings-concepts)."""

_NOT_BACK = {"restorable": "no", "why": MADE_AGAIN}


class FederatedCredential:
    """The credential exists, or is gone with its last user."""

    name = "federated_credential"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Compare issuer, subject and audience character by character, as Entra does."""
        if ctx.for_pruning_only:
            return []
        if ctx.intent is None or not ctx.intent.outputs:
            return [found("credential-exists", ok=False, detail="none recorded")]
        planned = ctx.intent.planned
        name = str(ctx.intent.outputs["name"])
        there = await ctx.outside.identities.get_credential(str(planned["identityId"]), name)
        if there is None:
            return [found("credential-exists", ok=False, detail=name)]
        return [
            found("credential-exists", ok=True, detail=name),
            found("credential-issuer", ok=there.issuer == planned["issuer"], detail=there.issuer),
            found("credential-subject", ok=there.subject == planned["subject"], detail=there.subject),
            found("credential-audience", ok=there.audiences == (naming.AUDIENCE,)),
        ]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the credential.

        Raises:
            PermanentError: ``credential-budget``: the identity holds 20 others.
            NotYetError: ``closing``, ``lease-busy``, ``credential-write-busy``.
        """
        identity_id = ctx.output("managed_identity", "resourceId")
        wanted = wanted_credential(
            ctx,
            client_id=ctx.output("managed_identity", "clientId"),
            issuer=ctx.output("preflight", "issuer"),
        )
        await ctx.recorder.intend(
            {
                "identityId": identity_id,
                "name": wanted.name,
                "issuer": wanted.issuer,
                "subject": wanted.subject,
                "provenance": Provenance.CREATED,
            },
        )
        own_names = (wanted.name, _former_name(ctx, wanted.subject))
        thing = credential_thing(identity_id, wanted.issuer, wanted.subject)
        await ctx.users.join(thing, ctx.user, settled=ctx.recorder.settled)
        present = await ctx.outside.identities.list_credentials(identity_id)
        for other in present:
            if equal(other, wanted):
                if await ctx.outside.identities.get_credential(identity_id, other.name) != other:
                    continue  # a list may be older than the last delete
                await ctx.recorder.depend("credential", _credential_id(identity_id, other.name))
                provenance = Provenance.CREATED if other.name in own_names else Provenance.ADOPTED
                return Done(outputs={"name": other.name, "provenance": provenance})
        require_budget(present, wanted, identity_id)
        await ctx.recorder.depend("credential", _credential_id(identity_id, wanted.name))
        async with credential_lease(ctx, identity_id):
            await ctx.outside.identities.ensure_credential(identity_id, wanted)
        return Done(outputs={"name": wanted.name, "provenance": Provenance.CREATED})

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the credential with its last user: from then on the workload gets no new token.

        Only a name that we compute is ever deleted: an equal credential that somebody else made has
        another one.
        """
        removal = Removal()
        await require_still_gone(ctx)
        for plan in ctx.plans:
            await self._remove(ctx, removal, plan.planned)
        return removal.done()

    async def _remove(self, ctx: StepContext, removal: Removal, planned: Mapping[str, Any]) -> None:
        identity_id, name = str(planned["identityId"]), str(planned["name"])
        credential = {key: str(planned[key]) for key in ("issuer", "subject")}
        item = {"kind": "credential", "identityId": identity_id, "name": name, **credential}
        if ctx.pruning and PROTECTED in name.lower():
            removal.keep(item, "protected-object", "it is AKS's own")
            return
        thing = credential_thing(identity_id, credential["issuer"], credential["subject"])
        last = False
        if ctx.operation.report_only:
            shared = await ctx.users.get(thing)
            others = shared is not None and bool(set(shared.users) - {ctx.user})
        else:
            leaving = await leave(ctx, thing)
            others, last = leaving.shared, leaving.last
        own = planned.get("provenance") == Provenance.CREATED
        leaves = own and not ctx.operation.report_only
        linker = None
        if not others or (leaves and await only_linkers_stay(ctx, thing)):
            linker = await self._linker(ctx, credential)
        if others and linker is None:
            removal.keep(item, "still-shared", "still used")
            return
        if linker is not None:
            if leaves:
                await leave_credential_to(ctx, linker, thing, planned)
            if last:
                await forget(ctx, thing)
            removal.keep(item, "live-linker", "a live linker works through it")
            return
        reason = "" if own else await still_trusted(ctx, planned)
        if reason:
            removal.keep(item, "still-relied-on", reason)
        elif ctx.operation.report_only:
            removal.say(item, "last-user", **_NOT_BACK)
        else:
            last = await self._revoke(ctx, removal, item, planned, last=last)
        if last:
            await forget(ctx, thing)

    async def _revoke(
        self,
        ctx: StepContext,
        removal: Removal,
        item: Mapping[str, Any],
        planned: Mapping[str, Any],
        *,
        last: bool,
    ) -> bool:
        """Delete a credential as its last user, or if it has none any more; says whether we are the last."""
        identity_id, name = str(item["identityId"]), str(item["name"])
        credential = {key: str(item[key]) for key in ("issuer", "subject")}
        thing = credential_thing(identity_id, credential["issuer"], credential["subject"])
        own = planned.get("provenance") == Provenance.CREATED
        names = (name, _former_name(ctx, credential["subject"])) if own else (name,)
        if not last and own and await self._named(ctx, identity_id, names, credential):
            # Not after the identity, as ``verify_gone`` would.
            last = await take_up(ctx, thing)
        deleted = await self._delete(ctx, identity_id, names, credential) if last else ""
        rule = "last-user" if deleted else "already-gone"
        gone = {**item, "name": deleted or name, "provenance": str(planned.get("provenance", ""))}
        removal.remove({**gone, "thing": thing, "found": bool(deleted)}, rule, **_NOT_BACK)
        return last

    async def _linker(self, ctx: StepContext, credential: Mapping[str, str]) -> Linker | None:
        """The living linker that works through a credential, ``None`` if none does."""
        client_id = account_of(credential["subject"].rpartition(":")[-1])
        return next((one for one in await live_linkers(ctx) if one.client_id.lower() == client_id), None)

    async def _delete(
        self, ctx: StepContext, identity_id: str, names: Sequence[str], credential: Mapping[str, str]
    ) -> str:
        """Delete it under the first name that holds it; returns that name, or an empty one.

        A name may hold another credential by now: that of a rebuilt cluster, with a new issuer.
        """
        async with credential_lease(ctx, identity_id):
            name = await self._named(ctx, identity_id, names, credential)
            if name:
                await ctx.outside.identities.delete_credential(identity_id, name)
            return name

    async def _named(
        self, ctx: StepContext, identity_id: str, names: Sequence[str], credential: Mapping[str, str]
    ) -> str:
        """The first name that holds a credential, empty if none does."""
        for name in names:
            there = await ctx.outside.identities.get_credential(identity_id, name)
            if there is not None and {"issuer": there.issuer, "subject": there.subject} == credential:
                return name
        return ""


def equal(one: Credential, other: Credential) -> bool:
    """Say whether two credentials trust the same tokens, whatever their names are."""
    same = one.issuer == other.issuer and one.subject == other.subject
    return same and one.audiences == other.audiences


def wanted_credential(ctx: StepContext, *, client_id: str, issuer: str) -> Credential:
    """The credential by which the workload's service account becomes the identity of that client id."""
    spec = ctx.connection.spec
    account = naming.account_name(spec, client_id)
    return Credential(
        name=naming.credential_name(spec.cluster_id, spec.namespace, account, issuer),
        issuer=issuer,
        subject=naming.subject(spec.namespace, account),
        audiences=(naming.AUDIENCE,),
    )


def holds_room(present: Collection[Credential], wanted: Credential) -> bool:
    """Say whether an identity can hold one more, or has it (or one of its name, to be replaced) already."""
    return len(present) < BUDGET or any(one.name == wanted.name or equal(one, wanted) for one in present)


def budget_remedy(identity_id: str) -> str:
    """What is left to do about a full identity."""
    name = identity_id.rsplit("/", 1)[-1]
    return (
        "leave identityId out, name another identity, or remove a credential that nobody needs:"
        f" az identity federated-credential list --identity-name {name}"
        f" --resource-group {naming.resource_group_of(identity_id).rsplit('/', 1)[-1]}"
    )


def require_budget(present: Collection[Credential], wanted: Credential, identity_id: str) -> None:
    """The identity has room for one more credential, or has this one already.

    Raises:
        PermanentError: ``credential-budget``.
    """
    if not holds_room(present, wanted):
        raise PermanentError(
            "credential-budget",
            f"the identity holds {len(present)} of {BUDGET} federated credentials",
            remedy=budget_remedy(identity_id),
        )


def _former_name(ctx: StepContext, subject: str) -> str:
    spec = ctx.connection.spec
    return naming.former_credential_name(spec.cluster_id, spec.namespace, subject.rpartition(":")[-1])


def _credential_id(identity_id: str, name: str) -> str:
    return f"{identity_id}/federatedIdentityCredentials/{name}"
