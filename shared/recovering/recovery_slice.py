"""One cluster's slice of a recovery: its labelled secrets, by identity, all of an identity's or none.

Connections that share an identity share what goes with its last user. If one of them could not be put on
record, the others would be taken for the last, and a delete would take the identity from under it: so they
are put on record together, or told together; and all are users of what they share before the first is there.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from shared import naming
from shared.errors import PermanentError, RefusedError, UnreadableRowError
from shared.models import ConnectionId
from shared.policy import Policy
from shared.ports import KubeObject, ManagedCluster
from shared.recovering.rebuilding import Rebuilder
from shared.recovering.recoveries import RECOVERY, Found, FoundRows, Outcome
from shared.recovering.survey import Claim, Seen, Surveyor, Unknown, ours
from shared.spec import ConnectionSpec
from shared.sweeping import scope
from shared.sweeping.cluster_view import ACCOUNT, CONFIG_MAP, PROVIDER_CLASS, SECRET, look
from shared.sweeping.ledger import AT_ONCE, Ledger, side_by_side
from shared.sweeping.lookout import Lookout

SIBLING = "sibling-not-recovered"
SETTINGS = (SECRET, CONFIG_MAP, PROVIDER_CLASS)
"""Kinds of objects with settings, which tell what was asked for."""
STAGE = "connections"
SUBSCRIPTION, NOT_LISTED = "microsoft.resources/subscriptions", "clusters-not-listed"
"""Type of what stands for the clusters that may not be listed of a subscription, and what is said of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySlice:
    """Recovers what is in one cluster."""

    lookout: Lookout
    rebuilder: Rebuilder
    rows: FoundRows
    judge: Callable[[ConnectionSpec], None]
    app_client_id: str

    async def work(self, ledger: Ledger) -> bool:
        """Recover as much as time allows; False if there is more to do.

        Raises:
            TransientError: go on from the ledger's cursor later.
            PermanentError: this cluster cannot be looked at.
        """
        policy = self.lookout.load_policy()
        if naming.type_of(ledger.what) == SUBSCRIPTION:
            ledger.note(NOT_LISTED)
            return True
        if not scope.listed(policy, ledger.what):
            ledger.note("not-in-policy")
            return True
        cluster = await ledger.arm(self.lookout.outside.clusters.describe(ledger.what))
        if cluster is None:
            ledger.note("cluster-gone")
            return True
        ledger.count_once("clusters")
        surveyor = await self._surveyor(ledger, policy, cluster)
        if surveyor is None:
            return True
        claims = [surveyor.claim(one) for one in _secrets(surveyor)]
        return await self._groups(ledger, surveyor, claims, policy)

    async def _surveyor(self, ledger: Ledger, policy: Policy, cluster: ManagedCluster) -> Surveyor | None:
        """A look at the cluster; ``None`` if the secrets or accounts could not be listed, which is noted."""
        view = await look(self.lookout.outside, ledger, cluster, policy)
        ledger.count_once("linkers", len(view.linkers or {}))
        if not {*SETTINGS, ACCOUNT} <= set(view.objects):
            return None
        return Surveyor(
            outside=self.lookout.outside,
            catalogue=self.lookout.catalogue,
            judge=self.judge,
            identity_resource_group_id=self.lookout.identity_resource_group_id,
            app_client_id=self.app_client_id,
            view=view,
            ledger=ledger,
        )

    async def _groups(
        self, ledger: Ledger, surveyor: Surveyor, claims: Sequence[Claim], policy: Policy
    ) -> bool:
        """Go through the claims, one identity after the other; False if the time was up before the end."""
        _, after = ledger.stage((STAGE,))
        told = {claim.connection_id for claim in claims if claim.spec is not None}
        # A copy of a secret that tells its own place (some tool copies secrets) is nobody's connection.
        untold = [claim for claim in claims if claim.spec is None and claim.connection_id not in told]
        silent = [claim for claim in untold if not await self._on_record(claim)]
        groups: dict[str, list[Claim]] = {}
        for claim in claims:
            # Without an identity it shares nothing that goes with a last user.
            groups.setdefault(_identity_id(surveyor, claim) or f"none {claim.place}", []).append(claim)
        keys = [key for key in sorted(groups) if key > after]
        unlisted = scope.unlisted(policy, ledger.what, surveyor.view.namespaces)

        async def one(key: str) -> None:
            named = policy.names(key)
            silence = _silent_for(silent, groups[key], named=named, unlisted=unlisted)
            await self._group(ledger, surveyor, groups[key], silence)

        for page in itertools.batched(keys, AT_ONCE, strict=False):
            await side_by_side(one, page)
            ledger.move(STAGE, page[-1])
            if ledger.over() and page[-1] != keys[-1]:
                return False
        return True

    async def _on_record(self, claim: Claim) -> bool:
        """Say whether a connection on record writes this very secret."""
        try:
            stored = await self.lookout.state.connection(ConnectionId(claim.connection_id))
        except UnreadableRowError:
            return True  # of another version: it is somebody's, and left as it is
        spec = stored.value.spec if stored is not None else None
        here = (claim.secret.kind, claim.secret.name)
        return (
            spec is not None
            and spec.namespace == claim.secret.namespace
            and naming.settings_object(spec) == here
        )

    async def _group(self, ledger: Ledger, surveyor: Surveyor, claims: Sequence[Claim], silent: str) -> None:
        """All connections of one identity; ``silent`` is where there may be one more."""
        scopes = frozenset(filter(None, (_scope(surveyor, claim) for claim in claims)))
        seen: list[Seen] = []
        bad = silent
        for claim in claims:
            if await self._on_record(claim):
                await self._tell(ledger, surveyor, claim, await self._known(ledger, claim))
                continue
            try:
                seen.append(await surveyor.survey(claim, scopes))
            except Unknown as unknown:
                bad = bad or claim.place
                await self._tell(ledger, surveyor, claim, Outcome.NOT_RECOVERED, why=unknown)
        if not bad and ledger.sweep.asked_by == RECOVERY:
            seen, bad = await self._joined(ledger, surveyor, seen)
        for one in seen:
            if bad:
                why = Unknown(SIBLING, f"{bad} could not be told")
                await self._tell(ledger, surveyor, one.claim, Outcome.NOT_RECOVERED, why=why)
            else:
                await self._recover(ledger, surveyor, one)

    async def _joined(
        self, ledger: Ledger, surveyor: Surveyor, seen: Sequence[Seen]
    ) -> tuple[list[Seen], str]:
        """Make each a user of what they share.

        A run may be cut off between two of them: the one that is on record by then must not be the last user
        of what the other works through.

        Returns:
            Those that are users now, and the place of one that cannot be; empty if all are.
        """
        joined: list[Seen] = []
        bad = ""
        for one in seen:
            try:
                await self.rebuilder.join(one)
            except PermanentError as error:
                bad = bad or one.claim.place
                why = Unknown(error.code, error.detail)
                await self._tell(ledger, surveyor, one.claim, Outcome.NOT_RECOVERED, why=why)
            else:
                joined.append(one)
        return joined, bad

    async def _known(self, ledger: Ledger, claim: Claim) -> Outcome:
        """Of what an earlier run of this recovery put on record, that stays its outcome."""
        earlier = await self.rows.get(
            ledger.sweep.sweep_id, claim.connection_id, claim.secret.namespace, claim.object
        )
        recovered = earlier is not None and earlier.outcome is Outcome.RECOVERED
        return Outcome.RECOVERED if recovered else Outcome.ON_RECORD

    async def _recover(self, ledger: Ledger, surveyor: Surveyor, seen: Seen) -> None:
        if ledger.sweep.asked_by != RECOVERY:
            await self._tell(ledger, surveyor, seen.claim, Outcome.WOULD_RECOVER, notes=seen.notes)
            return
        # Said before it is done: a run that dies right after finds it on record and knows whose it is.
        await self.rows.put(
            ledger.sweep.sweep_id, _found(surveyor, seen.claim, Outcome.RECOVERED, notes=seen.notes)
        )
        try:
            written = await self.rebuilder.write(seen, now=ledger.sweep.started_at)
        except PermanentError as error:
            why = Unknown(error.code, error.detail)
            await self._tell(ledger, surveyor, seen.claim, Outcome.NOT_RECOVERED, why=why)
            return
        outcome = Outcome.RECOVERED if written else Outcome.ON_RECORD
        await self._tell(ledger, surveyor, seen.claim, outcome, notes=seen.notes)

    async def _tell(
        self,
        ledger: Ledger,
        surveyor: Surveyor,
        claim: Claim,
        outcome: Outcome,
        *,
        why: Unknown | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        ledger.count(f"connections.{outcome.value}")
        if why is not None:
            ledger.count(f"reasons.{why.reason}")
        found = _found(surveyor, claim, outcome, why=why, notes=notes)
        await self.rows.put(ledger.sweep.sweep_id, found)


def _found(
    surveyor: Surveyor,
    claim: Claim,
    outcome: Outcome,
    *,
    why: Unknown | None = None,
    notes: tuple[str, ...] = (),
) -> Found:
    spec = claim.spec
    return Found(
        connection_id=claim.connection_id,
        cluster_id=surveyor.view.cluster_id,
        namespace=claim.secret.namespace,
        object=claim.object,
        name=spec.name if spec else "",
        workload=spec.workload if spec else "",
        target_id=spec.target_id if spec else "",
        identity_id=surveyor.identity_id(spec) if spec and spec.by_identity else "",
        outcome=outcome,
        reason=why.reason if why else "",
        detail=why.detail if why else "",
        notes=notes,
    )


def _identity_id(surveyor: Surveyor, claim: Claim) -> str:
    by_identity = claim.spec is not None and claim.spec.by_identity
    return naming.fold_id(surveyor.identity_id(claim.spec)) if claim.spec and by_identity else ""


def _secrets(surveyor: Surveyor) -> list[KubeObject]:
    objects = surveyor.view.objects
    return [one for kind in SETTINGS for _, one in sorted(objects[kind].items()) if ours(one)]


def _silent_for(silent: Sequence[Claim], claims: Sequence[Claim], *, named: bool, unlisted: str) -> str:
    """Place of a secret that tells nothing and may be of the identity of these claims; empty if none may.

    An identity that is made for a workload serves its namespace alone; one that requests name, or may name
    by the policy (those that we made among them), may serve any: those that match the pattern ``unlisted``,
    which were not looked into, too.
    """
    named = named or any(claim.spec is not None and claim.spec.identity_id for claim in claims)
    if named and unlisted:
        return f"what is in namespaces {unlisted}"
    namespaces = {claim.secret.namespace for claim in claims}
    found = (one.place for one in silent if named or one.secret.namespace in namespaces)
    return next(found, "")


def _scope(surveyor: Surveyor, claim: Claim) -> str:
    if claim.spec is None:
        return ""
    try:
        return naming.fold_id(surveyor.catalogue.find(claim.spec.target_type).scope(claim.spec.target_id))
    except RefusedError:
        return ""
