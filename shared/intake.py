"""Takes in requests: decodes, judges, opens, and refuses on the record.

Whatever cannot be carried out gets a row with its reason first, then an envelope on the ``rejected``
queue, and only then is its message acknowledged.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable

from shared import decoding, naming, requests, setting_values
from shared.adopting import Adopter, Adoption
from shared.announcer import Announcer
from shared.catalogue import Catalogue
from shared.errors import PermanentError, RefusedError, UnreadableRowError
from shared.models import ConnectionId, Kind, OperationId
from shared.opening import Answer, Asked, Opener
from shared.policy import Policy
from shared.ports import SILENCE, Clock, StepQueue, Telemetry
from shared.records import RequestLog, RequestRecord
from shared.spec import ConnectionSpec

DENIED = frozenset({"policy-denied", "namespace-protected"})
"""Codes of what the policy does not allow."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Takes in requests."""

    opener: Opener
    adopter: Adopter
    log: RequestLog
    announcer: Announcer
    queue: StepQueue
    catalogue: Catalogue
    clock: Clock
    load_policy: Callable[[], Policy]
    """Reads the policy afresh.

    Raises:
        PermanentError: ``policy-unreadable``.
    """
    subscription_ids: frozenset[str]
    telemetry: Telemetry = SILENCE

    async def receive(
        self, body: bytes | str, *, message_id: str, source: str, caller: str = ""
    ) -> RequestRecord:
        """Carry out one raw request, or refuse it on the record.

        Args:
            body: JSON, or base64 of it.
            message_id: key of the request if it has no ``requestId`` of its own.
            source: queue, http or poison.
            caller: W3C ``traceparent`` of the sender, empty for none.

        Raises:
            TransientError: nothing is decided yet; deliver the body again.
        """
        try:
            request = requests.decode(body)
        except RefusedError as error:
            raw = body.encode() if isinstance(body, str) else body
            # The message's own id may have been overwritten by the body (functions host), its bytes not.
            key = f"body:{hashlib.sha256(raw).hexdigest()}"
            return await self._refuse_body(error, body, key=key, source=source)
        return await self.submit(request, message_id=message_id, source=source, caller=caller)

    async def give_up(
        self, error: UnreadableRowError, body: bytes | str, *, message_id: str, source: str
    ) -> RequestRecord:
        """Refuse a sound request that meets a row which this version does not understand, every time.

        Nobody else would say what became of it. It may have been begun before: sent again, it goes on.
        """
        refusal = RefusedError(
            error.code,
            error.detail,
            remedy="finish the deployment, or mend the row; then send the request again",
        )
        request = requests.decode(body)
        known = {"connection_id": requests.connection_id_of(request), "action": request.action}
        return await self._refuse_body(refusal, body, key=f"message:{message_id}", source=source, **known)

    async def _refuse_body(
        self, error: RefusedError, body: bytes | str, *, key: str, source: str, **known: str
    ) -> RequestRecord:
        """Refuse under the sender's own key where the body shows one, so that the sender finds it."""
        request_id = _request_id(body)
        own = f"id:{request_id}" if request_id else ""
        try:
            earlier = await self.log.find(own) if own else None
        except UnreadableRowError:
            # What cannot be read is the sender's own record: then only the day's list leads to the refusal.
            known = {**known, "request_id": request_id}
            return await self.refuse(error, key=key, source=source, instead_of=None, **known)
        if own and (earlier is None or earlier.outcome == "rejected"):
            known = {**known, "request_id": request_id}
            return await self.refuse(error, key=own, source=source, instead_of=earlier, **known)
        return await self.refuse(error, key=key, source=source, instead_of=None, **known)

    async def submit(
        self, request: requests.Request, *, message_id: str, source: str, caller: str = ""
    ) -> RequestRecord:
        """Carry out one decoded request, or refuse it on the record.

        Raises:
            TransientError: nothing is decided yet; submit it again.
        """
        key = f"id:{request.request_id}" if request.request_id else f"message:{message_id}"
        body = request.model_dump(mode="json", exclude={"request_id"}, exclude_unset=True)
        body_hash = naming.body_hash(body)
        connection_id = requests.connection_id_of(request)
        known = await self.log.find(key)
        # A refusal did nothing: the same request may be sent again once its reason is gone.
        if known is not None and known.outcome != "rejected":
            if known.body_hash != body_hash:
                reused = RefusedError(
                    "request-id-reused",
                    f"requestId {request.request_id} was used for another request",
                    field="requestId",
                    remedy="use a new requestId for every new request",
                )
                return await self.refuse(reused, key=f"{key}|{body_hash}", source=source)
            await self._ensure_started(known)
            return known
        detail = ""
        try:
            if isinstance(request, requests.AdoptRequest):
                with self.telemetry.span("adopt", caller=caller, fields={"linker": request.linker_id}):
                    adoption = await self.adopter.adopt(request.linker_id, key=key)
                connection_id, detail = adoption.connection.connection_id, adoption.detail
                answer = await self._look_at(adoption, request, key, caller)
            else:
                answer = await self._open(request, connection_id, key, caller)
        except RefusedError as error:
            return await self.refuse(
                error,
                key=key,
                source=source,
                instead_of=known,
                request_id=request.request_id,
                connection_id=connection_id,
                action=request.action,
                body_hash=body_hash,
            )
        record = RequestRecord(
            key=key,
            request_id=request.request_id,
            outcome=answer.outcome,
            body_hash=body_hash,
            connection_id=connection_id,
            operation_id=answer.operation_id,
            action=request.action,
            detail=detail,
            source=source,
            received_at=self.clock.now(),
        )
        return self._counted(await self.log.remember(record, instead_of=known))

    async def _open(
        self, request: requests.Request, connection_id: ConnectionId, key: str, caller: str
    ) -> Answer:
        update = isinstance(request, requests.UpdateRequest)
        spec = (
            requests.to_spec(request)
            if isinstance(request, requests.CreateRequest | requests.UpdateRequest)
            else None
        )
        asked = Asked(
            kind=Kind.CREATE if update else Kind(request.action),
            connection_id=connection_id,
            key=key,
            request_id=request.request_id,
            spec=spec,
            row=self.catalogue.find(spec.target_type) if spec is not None and update else None,
            caller=caller,
        )
        if spec is not None:
            try:
                self.judge(spec)
            except RefusedError:
                # The policy may have become narrower since: what goes on is not told as refused.
                if not await self._has_opened(asked):
                    raise
        return await self.opener.open(asked)

    async def _has_opened(self, asked: Asked) -> bool:
        """Say whether this request was opened by a run that died before it could record so."""
        stored = await self.opener.state.operation(naming.operation_id(asked.connection_id, asked.key))
        return stored is not None and stored.value.spec == asked.spec

    async def _look_at(
        self, adoption: Adoption, request: requests.AdoptRequest, key: str, caller: str
    ) -> Answer:
        """An adoption is a record; the operation that follows it is a look at what was adopted."""
        connection = adoption.connection
        if not adoption.fresh:
            return Answer("unchanged", connection.last_operation)
        look = Asked(
            kind=Kind.VALIDATE,
            connection_id=connection.connection_id,
            key=key,
            request_id=request.request_id,
            caller=caller,
        )
        return await self.opener.open(look)

    async def refuse(
        self,
        error: RefusedError,
        *,
        key: str,
        source: str,
        instead_of: RequestRecord | None = None,
        **known: str,
    ) -> RequestRecord:
        """Record a refusal, then tell of it on the ``rejected`` queue.

        ``instead_of`` is an earlier record of the same key that may be replaced.
        """
        record = await self.log.remember(
            RequestRecord(
                key=key,
                outcome="rejected",
                operation_id=f"rejected-{self.clock.now():%Y%m%d}-{naming.digest([key])}",
                code=error.code,
                detail=error.detail,
                field=error.field,
                remedy=error.remedy,
                source=source,
                received_at=self.clock.now(),
                **known,
            ),
            instead_of=instead_of,
        )
        if record.outcome != "rejected":
            return record  # another delivery of it was judged otherwise, and is under way
        envelope = record.model_dump(mode="json", exclude={"key", "body_hash", "outcome"})
        await self.queue.reject({"kind": "request-rejected", **envelope})
        return self._counted(record)

    def _counted(self, record: RequestRecord) -> RequestRecord:
        self.telemetry.measure("requests_total", kind=record.action or "unknown", result=record.outcome)
        if record.code in DENIED:
            self.telemetry.measure("policy_denied_total")
        return record

    def judge(self, spec: ConnectionSpec) -> None:
        """Let a wanted connection pass, or refuse it by what it says alone: nothing is looked at.

        Raises:
            RefusedError: a code of the catalogue or the policy, or ``subscription-not-listed``.
        """
        target = self.catalogue.choose(
            spec.target_type, spec.target_id, spec.client_type, spec.intent, auth=spec.settings_kind
        )
        if target.database is not None:
            target.database.check_name(spec.name)
        setting_values.check(target, spec)
        for field, resource_id in (("clusterId", spec.cluster_id), ("target.id", spec.target_id)):
            if naming.subscription_of(resource_id) not in self.subscription_ids:
                raise RefusedError(
                    "subscription-not-listed",
                    f"subscription {naming.subscription_of(resource_id)} is not one of ours",
                    field=f"connection.{field}",
                    remedy="add it to MOORING_SUBSCRIPTION_IDS and to the policy",
                )
        try:
            policy = self.load_policy()
        except PermanentError as error:
            raise RefusedError(error.code, error.detail, remedy=error.remedy) from error
        policy.judge(spec, target.rights(spec.intent) if spec.by_identity else ())

    async def _ensure_started(self, record: RequestRecord) -> None:
        if record.outcome == "opened":
            await self.announcer.start(OperationId(record.operation_id))


def _request_id(body: bytes | str) -> str:
    """The sender's key in a body that was refused, empty if none can be told."""
    try:
        value = decoding.decode(
            body,
            message_bytes=requests.MESSAGE_BYTES,
            json_bytes=requests.JSON_BYTES,
            depth=requests.DEPTH,
        )
    except RefusedError:
        return ""
    found = value.get("requestId") if isinstance(value, dict) else None
    return found if isinstance(found, str) and _REQUEST_ID.fullmatch(found) else ""
