"""Rules of routes, keys and handshakes, without any process."""

from __future__ import annotations

import pytest

from sandbox.functions.event_grid import validation_code
from sandbox.functions.keys import KeyRing
from sandbox.functions.routes import RouteError, RouteTemplate

# Routes


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("api/items", "/api/items", {}),
        ("api/items", "/API/Items/", {}),
        ("api/items", "/api/items/1", None),
        ("items/{id:int}/{part?}", "/items/7", {"id": "7"}),
        ("items/{id:int}/{part?}", "/items/7/x", {"id": "7", "part": "x"}),
        ("items/{id:int}/{part?}", "/items/seven", None),
        ("items/{id:int}", "/items/2147483648", None),
        ("items/{id:long}", "/items/2147483648", {"id": "2147483648"}),
        (
            "items/{id:guid}",
            "/items/6dae42f8-4368-4678-94ff-3960e28e3630",
            {"id": "6dae42f8-4368-4678-94ff-3960e28e3630"},
        ),
        ("items/{id:guid}", "/items/6dae", None),
        ("a/{x:alpha:length(2,3)}", "/a/ab", {"x": "ab"}),
        ("a/{x:alpha:length(2,3)}", "/a/a1", None),
        ("a/{x:range(1,5)}", "/a/6", None),
        ("a/{x:regex(^[a-c]+$)}", "/a/abc", {"x": "abc"}),
        ("a/{x:regex(^\\d{{2}}$)}", "/a/12", {"x": "12"}),
        ("a/{x:regex(^\\d{{2}}$)}", "/a/123", None),
        ("a/{x:bool}", "/a/TRUE", {"x": "TRUE"}),
        ("a/{x=home}", "/a", {"x": "home"}),
        ("files/{*rest}", "/files/a/b/c", {"rest": "a/b/c"}),
        ("files/{*rest}", "/files", {}),
        ("report-{year:int}.{ext}", "/report-2026.pdf", {"year": "2026", "ext": "pdf"}),
        ("a/{x}", "/a/b%20c%2Fd", {"x": "b c%2Fd"}),
        ("", "/", {}),
    ],
)
def test_route_templates_match_as_asp_net_routes_do(
    template: str, path: str, expected: dict[str, str] | None
) -> None:
    assert RouteTemplate(template).match(path) == expected


@pytest.mark.parametrize("template", ["a/{x", "a/{x:nosuch}", "a/{1-}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(RouteError):
        RouteTemplate(template)


# Keys

RING = KeyRing({"default": "host-key", "master": "master-key", "eventgrid_extension": "grid-key"})


@pytest.mark.parametrize(
    ("key", "level", "allowed"),
    [
        (None, "ANONYMOUS", True),
        (None, "FUNCTION", False),
        ("wrong", "FUNCTION", False),
        ("host-key", "function", True),
        ("grid-key", "function", False),
        ("master-key", "function", True),
        ("host-key", "admin", False),
        ("master-key", "ADMIN", True),
        ("schlüssel", "function", False),
    ],
)
def test_a_key_opens_the_levels_it_should(key: str | None, level: str, allowed: bool) -> None:
    assert RING.allows_http(key, level) is allowed


@pytest.mark.parametrize(
    ("key", "status"),
    [(None, 401), ("", 401), ("wrong", 401), ("host-key", 403), ("grid-key", 200), ("master-key", 200)],
)
def test_the_webhook_takes_its_system_key_and_the_master_key(key: str | None, status: int) -> None:
    assert RING.webhook_status(key) == status


def test_an_empty_configured_key_opens_nothing() -> None:
    assert KeyRing({"default": ""}).allows_http("", "function") is False


# Event Grid


def test_the_validation_code_is_found_in_an_array_and_in_an_object() -> None:
    assert validation_code([{"data": {"validationCode": "abc"}}]) == "abc"
    assert validation_code({"data": '{"validationCode": "abc"}'}) == "abc"
    assert validation_code([{"data": {}}]) is None
    assert validation_code(None) is None
