"""The identity trusts the tokens that the cluster issues to the workload's service account.

An identity holds 20 credentials at most, and overlapping writes to one identity are refused
(Microsoft Entra, "considerations and restrictions for federated identity credentials"): writes
are serialised by a lease per identity, and the budget is looked at before the write.
"""

from __future__ import annotations

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Done, Finding, Provenance
from shared.ports import Credential
from shared.steps.base import StepContext, found

BUDGET = 20
LEASE_SECONDS = 60.0


class FederatedCredential:
    """The credential exists, or is gone with its last user."""

    name = "federated_credential"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Compare issuer, subject and audience character by character, as Entra does."""
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
        spec = ctx.connection.spec
        identity_id = ctx.output("managed_identity", "resourceId")
        account = naming.service_account_name(ctx.output("managed_identity", "clientId"))
        wanted = Credential(
            name=naming.credential_name(spec.cluster_id, spec.namespace, account),
            issuer=ctx.output("preflight", "issuer"),
            subject=naming.subject(spec.namespace, account),
            audiences=(naming.AUDIENCE,),
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
        await ctx.recorder.depend("credential", f"{identity_id}/federatedIdentityCredentials/{wanted.name}")
        await ctx.users.join(_thing(identity_id, wanted), ctx.user, ended=ctx.recorder.ended)
        present = await ctx.outside.identities.list_credentials(identity_id)
        for other in present:
            same = other.issuer == wanted.issuer and other.subject == wanted.subject
            if same and other.audiences == wanted.audiences:
                provenance = Provenance.CREATED if other.name == wanted.name else Provenance.ADOPTED
                return Done(outputs={"name": other.name, "provenance": provenance})
        if len(present) >= BUDGET and all(other.name != wanted.name for other in present):
            raise PermanentError(
                "credential-budget",
                f"the identity holds {len(present)} of {BUDGET} federated credentials",
                remedy="leave identityId out, or name another identity",
            )
        await self._write(ctx, identity_id, wanted)
        return Done(outputs={"name": wanted.name, "provenance": Provenance.CREATED})

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the credential with its last user: from then on the workload gets no new token."""
        if ctx.intent is None:
            return Done(outputs={"kept": "never-made"})
        planned = ctx.intent.planned
        identity_id = str(planned["identityId"])
        name = str(ctx.intent.outputs.get("name", planned["name"]))
        wanted = Credential(
            name=name,
            issuer=str(planned["issuer"]),
            subject=str(planned["subject"]),
            audiences=(naming.AUDIENCE,),
        )
        if ctx.operation.report_only:
            return Done(outputs={"would": "delete unless shared", "credential": name})
        thing = _thing(identity_id, wanted)
        leaving = await ctx.users.leave(thing, ctx.user, operation_id=ctx.operation.operation_id)
        if not leaving.last:
            return Done(outputs={"kept": "still-used"})
        if ctx.intent.outputs.get("provenance") == Provenance.ADOPTED:
            await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)
            return Done(outputs={"kept": "not-made-by-us"})
        await self._delete(ctx, identity_id, name)
        await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)
        removed = {"kind": "credential", "thing": thing, "identityId": identity_id, "name": name}
        return Done(outputs={"removed": [removed]})

    async def _write(self, ctx: StepContext, identity_id: str, wanted: Credential) -> None:
        lease = f"credentials|{naming.fold_id(identity_id)}"
        holder = ctx.operation.operation_id
        if not await ctx.limits.acquire(lease, holder=holder, seconds=LEASE_SECONDS):
            raise NotYetError("lease-busy", "another credential of this identity is being written")
        try:
            await ctx.outside.identities.ensure_credential(identity_id, wanted)
        finally:
            await ctx.limits.release(lease, holder=holder)

    async def _delete(self, ctx: StepContext, identity_id: str, name: str) -> None:
        lease = f"credentials|{naming.fold_id(identity_id)}"
        holder = ctx.operation.operation_id
        if not await ctx.limits.acquire(lease, holder=holder, seconds=LEASE_SECONDS):
            raise NotYetError("lease-busy", "another credential of this identity is being written")
        try:
            await ctx.outside.identities.delete_credential(identity_id, name)
        finally:
            await ctx.limits.release(lease, holder=holder)


def _thing(identity_id: str, credential: Credential) -> str:
    return f"credential|{naming.fold_id(identity_id)}|{credential.issuer}|{credential.subject}"
