"""Keys of targets: fakes and adapters keep the same promises, and nothing of the answer is logged."""

from __future__ import annotations

import logging

import pytest

from shared.errors import PermanentError
from tests.contract.ports_azure import STORAGE_VERSION, Azure

pytest_plugins = ("tests.contract.ports_fixtures",)

ACTION = {"action": "listKeys", "api_version": STORAGE_VERSION}


async def test_the_keys_of_an_account_are_the_same_each_time_and_in_no_log(
    azure: Azure, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    first = await azure.resources.list_keys(azure.storage_id, **ACTION)
    assert first is not None
    assert [one["keyName"] for one in first["keys"]] == ["key1", "key2"]
    assert all(one["value"] for one in first["keys"])
    assert await azure.resources.list_keys(azure.storage_id, **ACTION) == first
    assert not [one for one in first["keys"] if one["value"] in caplog.text]


async def test_what_is_not_there_has_no_keys(azure: Azure):
    assert await azure.resources.list_keys(f"{azure.storage_id}x", **ACTION) is None


async def test_a_readonly_lock_keeps_the_keys(azure: Azure):
    async with azure.locked(azure.storage_id, "ReadOnly"):
        with pytest.raises(PermanentError, match="scope-locked"):
            await azure.resources.list_keys(azure.storage_id, **ACTION)
    async with azure.locked(azure.storage_id, "CanNotDelete"):
        assert await azure.resources.list_keys(azure.storage_id, **ACTION) is not None
