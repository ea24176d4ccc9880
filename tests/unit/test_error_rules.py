"""Every known error code of Azure, storage and Kubernetes means what the table says."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.clients.arm_errors import Failure, judge, retry_after_seconds
from shared.clients.error_rules import RULES, STATUS_RULES, Effect, Intent, Service
from shared.clients.kube_connection import failure_of
from shared.errors import NotYetError, Pace, PermanentError, StateConflictError, TransientError
from shared.retry import WAITS
from shared.throttling import THROTTLED

ABSENT = "absent"
WANTED = (Intent.READ, Intent.ENSURE, Intent.DELETE)
"""What the columns of the tables below stand for; a create differs where a test says so."""


def outcome(service: Service, status: int, code: str, intent: Intent, wait: float | None = None) -> str:
    failure = Failure(service=service, status=status, code=code, message="m", retry_after_seconds=wait)
    error = judge(failure, intent)
    if error is None:
        return ABSENT
    kind = {
        TransientError: "transient",
        StateConflictError: "conflict",
        PermanentError: "permanent",
        NotYetError: "wait",
    }[type(error)]
    pace = f" {error.pace}" if type(error) is TransientError else ""
    return f"{kind} {error.code}{pace}"


@pytest.mark.parametrize(
    ("status", "code", "read", "ensure", "delete"),
    [
        (404, "ResourceNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "ResourceGroupNotFound", ABSENT, "permanent resource-group-missing", ABSENT),
        (404, "ParentResourceNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "NotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "RoleAssignmentNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "ContainerNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "QueueNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "TableNotFound", ABSENT, "transient parent-not-found slow", ABSENT),
        (404, "MessagingGatewayNotFoundStatusCode", ABSENT, "transient parent-not-found slow", ABSENT),
    ],
)
def test_only_definite_not_found_codes_are_absence(
    status: int, code: str, read: str, ensure: str, delete: str
):
    found = [outcome(Service.ARM, status, code, intent) for intent in WANTED]
    assert found == [read, ensure, delete]
    assert outcome(Service.ARM, status, code.upper(), Intent.READ) == read


@pytest.mark.parametrize("status", [200, 403, 409, 500])
def test_a_not_found_code_under_another_status_is_no_absence(status: int):
    assert outcome(Service.ARM, status, "ResourceNotFound", Intent.READ) != ABSENT


@pytest.mark.parametrize("code", ["", "Gone", "InvalidPath", "SomethingNotFound"])
@pytest.mark.parametrize("intent", Intent)
def test_a_bare_404_proves_nothing(code: str, intent: Intent):
    assert outcome(Service.ARM, 404, code, intent) == "transient not-found-unproven slow"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "PrincipalNotFound", "transient principal-not-found slow"),
        (400, "InvalidPrincipalId", "permanent principal-invalid"),
        (409, "RoleAssignmentExists", "transient role-assignment-exists slow"),
        (400, "RoleAssignmentUpdateNotPermitted", "permanent role-assignment-foreign"),
        (400, "RoleAssignmentLimitExceeded", "permanent role-assignment-limit"),
        (
            409,
            "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
            "wait credential-write-busy",
        ),
        (400, "BadRequest", "permanent bad-request"),
        (405, "MethodNotAllowed", "permanent not-supported"),
        (403, "AuthorizationFailed", "permanent access-denied"),
        (403, "LinkedAuthorizationFailed", "permanent access-denied-linked"),
        (409, "ScopeLocked", "permanent scope-locked"),
        (409, "OperationNotAllowed", "transient operation-in-progress very-slow"),
        (409, "AnotherOperationInProgress", "transient operation-in-progress very-slow"),
        (412, "PreconditionFailed", "transient precondition fast"),
        (429, "SubscriptionRequestsThrottled", "transient throttled slow"),
        (429, "ResourceRequestsThrottled", "transient throttled slow"),
        (429, "Throttled", "transient throttled slow"),
        (429, "", "transient throttled slow"),
        (429, "RetryableError", "transient not-ready slow"),
        (429, "ReferencedResourceNotProvisioned", "transient not-ready slow"),
        (401, "InvalidAuthenticationToken", "transient token-refused slow"),
        (404, "SubscriptionNotFound", "permanent subscription-not-found"),
        (500, "InternalServerError", "transient service-error fast"),
        (503, "", "transient service-unavailable fast"),
        (599, "Whatever", "transient unknown slow"),
        (0, "", "transient connection-failed fast"),
    ],
)
def test_resource_manager_codes_mean_the_same_whatever_was_wanted(status: int, code: str, expected: str):
    assert {outcome(Service.ARM, status, code, intent) for intent in Intent} == {expected}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (409, "EntityAlreadyExists", ["conflict state-conflict"] * 3),
        (412, "UpdateConditionNotSatisfied", ["conflict state-conflict"] * 3),
        (412, "ConditionNotMet", ["conflict state-conflict"] * 3),
        (404, "ResourceNotFound", [ABSENT, "conflict state-conflict", "conflict state-conflict"]),
        (404, "TableNotFound", ["permanent table-missing"] * 3),
        (404, "QueueNotFound", [ABSENT, "permanent queue-missing", ABSENT]),
        (404, "MessageNotFound", [ABSENT] * 3),
        (400, "PopReceiptMismatch", [ABSENT] * 3),
        (503, "ServerBusy", ["transient storage-busy fast"] * 3),
        (403, "AuthorizationPermissionMismatch", ["transient storage-access-denied slow"] * 3),
        (413, "RequestBodyTooLarge", ["permanent row-too-large"] * 3),
    ],
)
def test_storage_codes(status: int, code: str, expected: list[str]):
    assert [outcome(Service.STORAGE, status, code, intent) for intent in WANTED] == expected


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (404, "NotFound", [ABSENT, "permanent namespace-not-found", ABSENT]),
        (
            409,
            "Conflict",
            [
                "transient kubernetes-conflict fast",
                "transient kubernetes-conflict fast",
                "transient precondition fast",
            ],
        ),
        (403, "Forbidden", ["permanent kubernetes-access-denied"] * 3),
        (401, "Unauthorized", ["transient kubernetes-token-refused slow"] * 3),
        (422, "Invalid", ["permanent kubernetes-invalid"] * 3),
        (410, "Expired", ["transient list-expired fast"] * 3),
        (429, "TooManyRequests", ["transient kubernetes-busy slow"] * 3),
        (504, "Timeout", ["transient kubernetes-timeout fast"] * 3),
    ],
)
def test_kubernetes_reasons(status: int, reason: str, expected: list[str]):
    assert [outcome(Service.KUBERNETES, status, reason, intent) for intent in WANTED] == expected


def test_a_cause_with_a_rule_of_its_own_replaces_the_broader_reason():
    body = {
        "kind": "Status",
        "reason": "Conflict",
        "message": "m",
        "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".metadata.labels.x"}]},
    }
    error = judge(failure_of(409, body, {}), Intent.ENSURE)
    assert isinstance(error, PermanentError)
    assert error.code == "field-conflict"


def test_a_body_that_is_no_kubernetes_status_has_no_code():
    assert failure_of(404, {"reason": "NotFound"}, {}).code == ""


@pytest.mark.parametrize("key", RULES, ids=lambda key: f"{key[0]}-{key[1]}")
def test_every_rule_is_complete(key: tuple[Service, str]):
    rules = RULES[key]
    assert set(rules) == set(Intent)
    for rule in rules.values():
        assert rule.code or rule.effect is Effect.ABSENT
        assert rule.code == rule.code.lower()


def test_no_status_alone_means_absence():
    assert all(rule.effect is not Effect.ABSENT for rule in STATUS_RULES.values())


def test_a_missing_action_is_named_in_the_remedy_and_a_lock_has_one():
    message = "does not have authorization to perform action 'Microsoft.A/b/write' over scope '/x'"
    error = judge(
        Failure(service=Service.ARM, status=403, code="AuthorizationFailed", message=message), Intent.READ
    )
    assert isinstance(error, PermanentError)
    assert error.remedy.endswith("Missing action: Microsoft.A/b/write")
    locked = judge(Failure(service=Service.ARM, status=409, code="ScopeLocked", message=""), Intent.DELETE)
    assert isinstance(locked, PermanentError)
    assert "Remove the lock" in locked.remedy


def test_a_throttled_call_carries_the_seconds_asked_for():
    failure = Failure(service=Service.ARM, status=429, code="", message="", retry_after_seconds=33)
    error = judge(failure, Intent.READ)
    assert isinstance(error, TransientError)
    assert (error.retry_after_seconds, error.pace) == (33, Pace.SLOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({}, None),
        ({"Retry-After": format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)}, 0),
        ({"Retry-After": "999999999"}, 999999999),
        ({"Retry-After": "9999999999"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999999999999999999 23:59:59 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 +999999999999999"}, None),
        ({"Retry-After": "soon", "x-ms-retry-after-ms": "1500"}, 1.5),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None):
    assert retry_after_seconds(headers) == seconds


def test_a_retry_after_date_is_turned_into_seconds():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    found = retry_after_seconds({"Retry-After": later})
    assert found is not None
    assert 80 < found <= 90


@pytest.mark.parametrize("zone", ["GMT", "-0000", "-2300", ""])
def test_a_retry_after_date_at_the_end_of_the_calendar_is_many_seconds(zone: str):
    found = retry_after_seconds({"Retry-After": f"Fri, 31 Dec 9999 23:59:59 {zone}"})
    assert found is not None
    assert found > timedelta(days=365 * 7000).total_seconds()


def test_a_retry_after_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch):
    later = datetime.now(UTC) + timedelta(seconds=90)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        found = retry_after_seconds({"Retry-After": f"{later:%a, %d %b %Y %H:%M:%S}"})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found is not None
    assert 80 < found <= 90


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (7, 7),
        (0, 0),
        (None, None),
        ("7", None),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
        (2**31, None),
    ],
)
def test_what_a_cluster_tells_of_its_patience_is_a_number_or_nothing(told: object, seconds: float | None):
    body = {"kind": "Status", "reason": "TooManyRequests", "details": {"retryAfterSeconds": told}}
    assert failure_of(429, body, {}).retry_after_seconds == seconds


def test_every_wait_that_a_service_may_ask_for_has_a_deadline():
    rules = [rule for by_intent in RULES.values() for rule in by_intent.values()]
    asked = {rule.code for rule in (*rules, *STATUS_RULES.values()) if rule.effect is Effect.NOT_YET}
    assert asked
    assert all(WAITS[code].deadline_seconds for code in (*asked, THROTTLED))


def test_a_create_finds_what_is_there_already_to_be_somebodys():
    assert outcome(Service.KUBERNETES, 409, "AlreadyExists", Intent.CREATE) == "permanent object-exists"
    assert outcome(Service.KUBERNETES, 409, "AlreadyExists", Intent.ENSURE) == (
        "transient kubernetes-conflict fast"
    )
    assert outcome(Service.KUBERNETES, 404, "NotFound", Intent.CREATE) == "permanent namespace-not-found"
