"""Turning what our POST owns into what apply owns."""

from typing import Any

from shared.clients.kube_ownership import takeover


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


def body(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "managedFields": list(entries)}}


def test_without_a_post_of_ours_there_is_nothing_to_take_over():
    theirs = entry("kubectl", "Update", {"f:data": {"f:A": {}}})
    assert takeover(body(theirs, entry("mooring", "Apply", {"f:data": {}}))) == []
    assert takeover(body(entry("mooring", "Update", {"f:status": {}}, subresource="status"))) == []
    assert takeover({}) == []


def test_both_of_our_entries_become_one_of_apply_and_those_of_others_stay():
    theirs = entry("kubectl", "Update", {"f:metadata": {"f:labels": {"f:team": {}}}})
    posted = entry("mooring", "Update", {"f:data": {".": {}, "f:A": {}, "f:B": {}}})
    applied = entry("mooring", "Apply", {"f:data": {"f:A": {}}, "f:metadata": {"f:labels": {"f:n": {}}}})
    owners, version = takeover(body(theirs, posted, applied))
    assert owners["path"] == "/metadata/managedFields"
    kept, mine = owners["value"]
    assert kept == theirs
    assert (mine["manager"], mine["operation"], mine["apiVersion"]) == ("mooring", "Apply", "v1")
    assert mine["fieldsV1"] == {
        "f:data": {".": {}, "f:A": {}, "f:B": {}},
        "f:metadata": {"f:labels": {"f:n": {}}},
    }
    assert version == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
