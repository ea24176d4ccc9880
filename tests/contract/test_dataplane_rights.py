"""Each blob operation needs the right that Azure documents for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.dataplane.access import Resource
from sandbox.dataplane.accounts import AccountPool, PoolEmptyError
from sandbox.dataplane.blob_rights import BLOB_SERVICES, BLOBS, CONTAINERS, Right, right_for
from sandbox.layout import POOL_ACCOUNTS, prepare


@pytest.mark.parametrize(
    ("method", "path", "query", "right"),
    [
        ("GET", "/", "comp=list", Right(action=f"{CONTAINERS}/read")),
        ("GET", "/", "restype=service&comp=properties", Right(action=f"{BLOB_SERVICES}/read")),
        ("PUT", "/", "restype=service&comp=properties", Right(action=f"{BLOB_SERVICES}/write")),
        ("PUT", "/c", "restype=container", Right(action=f"{CONTAINERS}/write", container="c")),
        ("HEAD", "/c", "restype=container", Right(action=f"{CONTAINERS}/read", container="c")),
        ("DELETE", "/c", "restype=container", Right(action=f"{CONTAINERS}/delete", container="c")),
        ("GET", "/c", "restype=container&comp=list", Right(data_action=f"{BLOBS}/read", container="c")),
        ("PUT", "/c/a/b", "", Right(data_action=f"{BLOBS}/write", container="c")),
        ("GET", "/c/a", "", Right(data_action=f"{BLOBS}/read", container="c")),
        ("HEAD", "/c/a", "", Right(data_action=f"{BLOBS}/read", container="c")),
        ("DELETE", "/c/a", "", Right(data_action=f"{BLOBS}/delete", container="c")),
        ("PUT", "/c/a", "comp=tags", Right(data_action=f"{BLOBS}/tags/write", container="c")),
        ("GET", "/robots.txt", "", Right(data_action=f"{BLOBS}/read", container="$root")),
    ],
)
def test_an_operation_needs_its_documented_right(method: str, path: str, query: str, right: Right) -> None:
    parameters = dict(pair.split("=") for pair in query.split("&") if pair)
    assert right_for(method, path, parameters) == right


@pytest.mark.parametrize(("method", "query"), [("POST", {"comp": "batch"}), ("GET", {})])
def test_what_no_right_covers_is_not_guessed(method: str, query: dict[str, str]) -> None:
    assert right_for(method, "/", query) is None


def test_an_account_made_again_is_empty_and_a_restart_remembers(tmp_path: Path) -> None:
    topology = prepare(tmp_path)
    first = Resource(id="/subscriptions/s/A", incarnation="1")
    pool = AccountPool(topology)
    mine = pool.account_of(first)
    assert pool.account_of(Resource(id="/SUBSCRIPTIONS/s/a", incarnation="1")) == mine
    assert pool.account_of(Resource(id=first.id, incarnation="2")) != mine
    assert AccountPool(topology).account_of(first) == mine


def test_an_empty_pool_is_said_and_nobody_shares_an_account(tmp_path: Path) -> None:
    pool = AccountPool(prepare(tmp_path))
    given = {pool.account_of(Resource(id=f"/{n}", incarnation="")) for n in range(POOL_ACCOUNTS)}
    assert len(given) == POOL_ACCOUNTS
    with pytest.raises(PoolEmptyError):
        pool.account_of(Resource(id="/one-too-many", incarnation=""))
