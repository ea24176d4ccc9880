"""The app's tokens: fetched once, used while they last, and nobody waits for another scope's."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.clients.credentials import AGAIN_SECONDS, LAST_SECONDS, REFRESH_MARGIN_SECONDS, AppCredential
from shared.clients.http_pool import HttpPool
from shared.errors import TransientError

ARM, STORAGE = "https://management.azure.com/.default", "https://storage.azure.com/.default"


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    token: str
    expires_on: float


@dataclasses.dataclass(slots=True)
class IdentityEndpoint:
    """Gives tokens of a lifetime, or an error; a scope may hang."""

    lifetime_seconds: float = 3600.0
    fails: bool = False
    hangs: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)
    free: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def get_token(self, scope: str, **_: Any) -> Token:
        self.asked.append(scope)
        if scope == self.hangs:
            await self.free.wait()
        if self.fails:
            raise ServiceRequestError("no answer, and a secret in the text")
        return Token(f"t{len(self.asked)}", time.time() + self.lifetime_seconds)

    async def close(self) -> None:
        pass


@pytest.fixture
def endpoint() -> IdentityEndpoint:
    return IdentityEndpoint()


@pytest.fixture
def credential(endpoint: IdentityEndpoint) -> AppCredential:
    made = AppCredential(HttpPool())
    made._inner = endpoint
    return made


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    real, moved = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + moved[0])

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move


async def test_many_that_ask_at_once_fetch_one_token(credential: AppCredential, endpoint: IdentityEndpoint):
    endpoint.hangs = ARM
    asked = [asyncio.create_task(credential.token(ARM)) for _ in range(16)]
    await asyncio.sleep(0)
    endpoint.free.set()
    assert set(await asyncio.gather(*asked)) == {"t1"}
    assert endpoint.asked == [ARM]


async def test_who_wants_a_token_that_is_there_waits_for_nobody(
    credential: AppCredential, endpoint: IdentityEndpoint
):
    assert await credential.token(ARM) == "t1"
    endpoint.hangs = STORAGE
    waiting = asyncio.create_task(credential.token(STORAGE))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        assert await credential.token(ARM) == "t1"
    endpoint.free.set()
    assert await waiting == "t2"


async def test_while_one_scopes_token_is_fetched_another_can_be(
    credential: AppCredential, endpoint: IdentityEndpoint
):
    endpoint.hangs = STORAGE
    waiting = asyncio.create_task(credential.token(STORAGE))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        assert await credential.token(ARM) == "t2"
    endpoint.free.set()
    assert await waiting == "t2"


async def test_a_token_that_cannot_be_replaced_is_used_until_its_last_minute(
    credential: AppCredential, endpoint: IdentityEndpoint, later: Callable[[float], None]
):
    endpoint.lifetime_seconds = REFRESH_MARGIN_SECONDS + 10
    assert await credential.token(ARM) == "t1"
    endpoint.fails = True
    later(20)
    assert await credential.token(ARM) == "t1"
    assert await credential.token(ARM) == "t1"
    assert len(endpoint.asked) == 2, "it is not tried again with every call"
    later(AGAIN_SECONDS)
    assert await credential.token(ARM) == "t1"
    assert len(endpoint.asked) == 3
    later(REFRESH_MARGIN_SECONDS - LAST_SECONDS)
    with pytest.raises(TransientError, match="token-unavailable") as caught:
        await credential.token(ARM)
    assert "secret" not in str(caught.value)
    endpoint.fails = False
    assert await credential.token(ARM) == "t5"


async def test_claims_of_a_challenge_are_never_answered_from_memory(
    credential: AppCredential, endpoint: IdentityEndpoint
):
    await credential.token(ARM)
    assert (await credential.get_token(ARM, claims="{}")).token == "t2"
    endpoint.fails = True
    with pytest.raises(TransientError):
        await credential.get_token(ARM, claims="{}")


async def test_a_token_that_a_service_refused_is_fetched_anew(credential: AppCredential):
    assert await credential.token(ARM) == "t1"
    credential.forget(ARM)
    assert await credential.token(ARM) == "t2"
