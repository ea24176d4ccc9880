"""The dead-letter container in a dictionary."""

from __future__ import annotations

from shared.ports import DeadLetterBlob

SET_ASIDE = "set-aside/"


class InMemoryDeadLetters:
    """``ports.DeadLetters`` for tests."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def waiting(self) -> list[DeadLetterBlob]:
        names = sorted(name for name in self.blobs if not name.startswith(SET_ASIDE))
        return [DeadLetterBlob(name, len(self.blobs[name])) for name in names][:5000]

    async def read(self, name: str) -> bytes | None:
        return self.blobs.get(name)

    async def keep(self, name: str, content: bytes) -> None:
        self.blobs[name] = content

    async def remove(self, name: str) -> None:
        self.blobs.pop(name, None)

    async def set_aside(self, name: str) -> None:
        content = self.blobs.pop(name, None)
        if content is not None:
            self.blobs[SET_ASIDE + name] = content
