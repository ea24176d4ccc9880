"""What the demo reads out of operations, connections and listings."""

from __future__ import annotations

import io
from typing import Any

from sandbox.demo.cast import (
    Cast,
    brief,
    event_to_end_seconds,
    objects_of,
    outcome_of,
    seconds_between,
)
from sandbox.demo.kubectl import Shown, _columns
from sandbox.demo.stage import Stage
from sandbox.demo.supervised import COMPLAINT

SECRETS = (
    "NAMESPACE   NAME             TYPE     DATA   AGE",
    "default     sc-blob-secret   Opaque   2      0s",
    "kube-system bootstrap        Opaque   2      9s",
)


def step(name: str, state: str = "done", direction: str = "apply", **outputs: Any) -> dict[str, Any]:
    instants = {"startedAt": "2026-01-01T00:00:00.000+00:00", "endedAt": "2026-01-01T00:00:01.500+00:00"}
    return {"name": name, "state": state, "direction": direction, "outputs": outputs, **instants}


def test_objects_of_connections_are_told_from_others() -> None:
    shown = Shown("kubectl get secret -A", SECRETS)
    assert shown.connection_objects == ("default/sc-blob-secret",)
    assert shown.abridged() == [*SECRETS[:2], "(and 1 others)"]


def test_a_listing_without_connections_says_so() -> None:
    assert Shown("kubectl get secret -A", (SECRETS[0], SECRETS[2])).abridged() == [
        "(none of a connection, 1 others)"
    ]
    assert Shown("kubectl get secret -A", ()).abridged() == ["(nothing)"]


def test_the_clients_listing_reads_as_kubectls() -> None:
    lines = _columns([("NAMESPACE", "NAME"), ("default", "sc-account-1"), ("orders", "other")])
    assert Shown("list", lines).connection_objects == ("default/sc-account-1",)
    assert _columns([("NAMESPACE", "NAME")]) == ()


def test_a_connections_objects_are_secret_and_account_in_its_namespace() -> None:
    kubernetes = {"secret": "sc-blob-secret", "serviceAccount": "sc-account-1"}
    connection = {"namespace": "orders", "kubernetes": kubernetes}
    assert objects_of(connection) == ("orders/sc-blob-secret", "orders/sc-account-1")


def test_seconds_from_event_to_end_start_at_the_events_own_time() -> None:
    operation = {
        "openedAt": "2026-01-01T00:00:02.000+00:00",
        "endedAt": "2026-01-01T00:00:10.000+00:00",
        "cause": {"event_time": "2026-01-01T00:00:01.0000000Z"},
    }
    assert event_to_end_seconds(operation) == 9.0
    assert event_to_end_seconds({**operation, "cause": None}) == 8.0
    assert seconds_between(None, operation["endedAt"]) == 0.0


def test_an_operation_in_one_line_has_reason_and_code() -> None:
    assert brief({}) == "no operation"
    held = {"kind": "prune", "state": "held", "waiting": "in-use", "detail": "used by Pod x", "code": None}
    assert brief(held) == "prune is held, waiting in-use, detail used by Pod x"


def test_each_step_is_shown_once_when_it_has_ended() -> None:
    stream, known = io.StringIO(), {"quiesce"}
    cast = Cast.__new__(Cast)
    object.__setattr__(cast, "stage", Stage(stream))
    steps = [
        step("quiesce"),
        step("settings", direction="revert"),
        step("managed_identity", direction="revert", kept=[{"rule": "still-shared", "detail": "still-used"}]),
        step("preflight", state="failed"),
        step("verify_gone", state="running"),
    ]
    for _ in range(2):
        cast.show_steps({"steps": steps}, known)
    assert stream.getvalue().splitlines() == [
        "      settings              removed   1.50 s",
        "      managed_identity      kept      1.50 s  still-used",
        "      preflight             failed    1.50 s",
    ]
    assert known == {"quiesce", "settings", "managed_identity", "preflight"}


def test_a_steps_outcome_says_why_something_was_kept() -> None:
    assert outcome_of(step("a", direction="revert", removed=[{}])) == ("removed", "")
    shared, kept = {"rule": "still-shared", "detail": "still used"}, {"rule": "keep-annotation"}
    assert outcome_of(step("a", direction="revert", kept=[shared])) == ("kept", "still used")
    assert outcome_of(step("a", direction="revert", kept=[kept])) == ("kept", "keep-annotation")
    assert outcome_of(step("a", direction="revert", kept=[kept], removed=[{}])) == ("removed", "")
    assert outcome_of(step("a", direction="revert", already="gone")) == ("removed", "already gone")
    assert outcome_of(step("a", direction="check")) == ("checked", "")
    assert outcome_of({**step("a", state="failed"), "code": "not-found"}) == ("failed", "not-found")


def test_complaints_are_exceptions_and_failed_steps_only() -> None:
    assert COMPLAINT.search("Id=3133-48 TypeError: unexpected")
    assert COMPLAINT.search("WARNING mooring: step-ended step=settings outcome=permanent code=x")
    assert not COMPLAINT.search("Z functions Executed 'Functions.tend' (Succeeded, Id=1, Duration=1ms)")
    assert not COMPLAINT.search("INFO mooring: step-ended step=settings outcome=wait")
