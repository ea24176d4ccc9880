"""Lists and watches behave on the emulator as on a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from kubernetes.aio import client, watch

from tests.contract.kubernetes_servers import Server, secret, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)

HEADERS_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
HEADERS_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def fill(core: client.CoreV1Api, namespace: str, count: int = 5) -> None:
    for index in range(count):
        labels = {"colour": "red" if index % 2 else "blue", "index": str(index)}
        body = secret(f"s-{index}", metadata={"labels": labels}, type="mooring/test")
        await core.create_namespaced_secret(namespace, body)


async def test_pages_are_complete_disjoint_and_say_how_many_remain(core: client.CoreV1Api, namespace: str):
    await fill(core, namespace)
    names, token, remaining = [], "", []
    while True:
        page = await core.list_namespaced_secret(namespace, limit=2, _continue=token or None)
        names += [item.metadata.name for item in page.items]
        remaining.append(page.metadata.remaining_item_count)
        token = page.metadata._continue
        if not token:
            break
    ours = [name for name in names if name.startswith("s-")]
    assert ours == [f"s-{index}" for index in range(5)]
    assert remaining[0] == len(names) - 2
    assert not remaining[-1]


async def test_a_filtered_page_does_not_say_how_many_remain(core: client.CoreV1Api, namespace: str):
    await fill(core, namespace)
    page = await core.list_namespaced_secret(namespace, limit=2, label_selector="colour")
    assert len(page.items) == 2
    assert page.metadata._continue
    assert page.metadata.remaining_item_count is None


async def test_later_pages_show_the_state_of_the_first_page(core: client.CoreV1Api, namespace: str):
    await fill(core, namespace, 3)
    first = await core.list_namespaced_secret(namespace, limit=1, label_selector="colour")
    await core.create_namespaced_secret(namespace, secret("s-9", metadata={"labels": {"colour": "red"}}))
    await core.delete_namespaced_secret("s-2", namespace)
    rest = await core.list_namespaced_secret(
        namespace, limit=10, label_selector="colour", _continue=first.metadata._continue
    )
    assert [item.metadata.name for item in rest.items] == ["s-1", "s-2"]


async def test_a_malformed_continue_token_is_a_bad_request(core: client.CoreV1Api, namespace: str):
    with pytest.raises(client.ApiException) as refused:
        await core.list_namespaced_secret(namespace, limit=1, _continue="nonsense")
    assert refused.value.status == 400


async def test_an_expired_page_gives_a_token_with_which_the_list_goes_on(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    await fill(core, namespace, 3)
    first = await core.list_namespaced_secret(namespace, limit=1, label_selector="colour")
    await core.create_namespaced_secret(namespace, secret("later"))
    cluster.compact()
    with pytest.raises(client.ApiException) as refused:
        await core.list_namespaced_secret(
            namespace, limit=1, label_selector="colour", _continue=first.metadata._continue
        )
    assert refused.value.status == 410
    status = status_of(refused.value)
    assert status["reason"] == "Expired"
    rest = await core.list_namespaced_secret(
        namespace, limit=9, label_selector="colour", _continue=status["metadata"]["continue"]
    )
    assert [item.metadata.name for item in rest.items] == ["s-1", "s-2"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("colour=red", ["s-1", "s-3"]),
        ("colour==red", ["s-1", "s-3"]),
        ("colour!=red,index", ["s-0", "s-2", "s-4"]),
        ("index in (0, 3)", ["s-0", "s-3"]),
        ("index notin (0,1,2),colour", ["s-3", "s-4"]),
        ("!missing,colour=blue", ["s-0", "s-2", "s-4"]),
        ("missing", []),
    ],
)
async def test_a_label_selector_chooses(
    core: client.CoreV1Api, namespace: str, selector: str, expected: list[str]
):
    await fill(core, namespace)
    found = await core.list_namespaced_secret(namespace, label_selector=selector)
    assert [item.metadata.name for item in found.items if item.metadata.name.startswith("s-")] == expected


@pytest.mark.parametrize("selector", ["a in (", "=b", "a b"])
async def test_an_unreadable_label_selector_is_a_bad_request(
    core: client.CoreV1Api, namespace: str, selector: str
):
    with pytest.raises(client.ApiException) as refused:
        await core.list_namespaced_secret(namespace, label_selector=selector)
    assert refused.value.status == 400


async def test_field_selectors_choose_and_unknown_fields_are_refused(core: client.CoreV1Api, namespace: str):
    await fill(core, namespace)
    found = await core.list_namespaced_secret(namespace, field_selector="metadata.name=s-1")
    assert [item.metadata.name for item in found.items] == ["s-1"]
    found = await core.list_namespaced_secret(
        namespace, field_selector="type=mooring/test,metadata.name!=s-1"
    )
    assert len(found.items) == 4
    with pytest.raises(client.ApiException) as refused:
        await core.list_namespaced_secret(namespace, field_selector="data.a=b")
    assert refused.value.status == 400


async def test_a_list_over_all_namespaces_has_those_of_each(core: client.CoreV1Api, namespace: str):
    await fill(core, namespace, 1)
    found = await core.list_secret_for_all_namespaces(field_selector="metadata.name=s-0")
    assert (namespace, "s-0") in {(item.metadata.namespace, item.metadata.name) for item in found.items}


async def test_a_metadata_list_has_no_values(cluster: Server, core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    answer = cluster.raw("GET", f"/api/v1/namespaces/{namespace}/secrets", Accept=HEADERS_METADATA)
    assert answer.body["kind"] == "PartialObjectMetadataList"
    mine = [item for item in answer.body["items"] if item["metadata"]["name"] == "s"]
    assert len(mine) == 1
    assert "data" not in mine[0]


async def test_a_table_has_the_columns_people_see(cluster: Server, core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("s", data={"a": "Yg=="}))
    answer = cluster.raw("GET", f"/api/v1/namespaces/{namespace}/secrets", Accept=HEADERS_TABLE)
    assert answer.body["kind"] == "Table"
    columns = [column["name"] for column in answer.body["columnDefinitions"]]
    assert columns == ["Name", "Type", "Data", "Age"]
    row = next(row for row in answer.body["rows"] if row["cells"][0] == "s")
    assert row["cells"][1:3] == ["Opaque", 1]
    assert row["object"]["kind"] == "PartialObjectMetadata"


async def watched(
    core: client.CoreV1Api,
    namespace: str,
    since: str,
    change: Callable[[], Awaitable[None]],
    **selector: str,
) -> list[tuple[str, str]]:
    """Types and names of the events between ``since`` and the one that names ``end``."""
    events = []
    watcher = watch.Watch()

    async def act() -> None:
        await asyncio.sleep(0.1)
        await change()
        await core.create_namespaced_secret(namespace, secret("end", metadata={"labels": {"watched": "y"}}))

    acting = asyncio.ensure_future(act())
    stream = watcher.stream(
        core.list_namespaced_secret, namespace, resource_version=since, timeout_seconds=10, **selector
    )
    async with watcher:
        async for event in stream:
            if event["object"].metadata.name == "end":
                break
            if event["object"].metadata.name.startswith("w"):
                events.append((event["type"], event["object"].metadata.name))
    await acting
    return events


async def test_a_watch_tells_what_happens_after_a_version(core: client.CoreV1Api, namespace: str):
    await core.create_namespaced_secret(namespace, secret("w-old"))
    since = (await core.list_namespaced_secret(namespace)).metadata.resource_version

    async def change() -> None:
        await core.create_namespaced_secret(namespace, secret("w"))
        await core.patch_namespaced_secret("w", namespace, {"data": {"a": "Yg=="}})
        await core.delete_namespaced_secret("w", namespace)

    events = await watched(core, namespace, since, change)
    assert events == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]


async def test_an_object_that_leaves_the_selector_is_told_as_deleted(core: client.CoreV1Api, namespace: str):
    since = (await core.list_namespaced_secret(namespace)).metadata.resource_version

    async def change() -> None:
        await core.create_namespaced_secret(namespace, secret("w"))
        await core.patch_namespaced_secret("w", namespace, {"metadata": {"labels": {"watched": "y"}}})
        await core.patch_namespaced_secret("w", namespace, {"metadata": {"labels": {"watched": "n"}}})

    events = await watched(core, namespace, since, change, label_selector="watched=y")
    assert events == [("ADDED", "w"), ("DELETED", "w")]


def test_a_watch_without_a_version_begins_with_what_is_there(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts?watch=true&timeoutSeconds=1"
    answer = cluster.raw("GET", path + "&fieldSelector=metadata.name%3Ddefault")
    events = answer.body if isinstance(answer.body, list) else [answer.body]
    # A real server's controllers may still be giving the account its secret.
    assert events[0]["type"] == "ADDED"
    assert {event["object"]["metadata"]["name"] for event in events} == {"default"}
