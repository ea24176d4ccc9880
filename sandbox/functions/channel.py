"""The pipe between host and worker: what gRPC is on the platform.

A frame is a four-byte big-endian length and JSON. Bytes travel as ``{"$bytes": base64}``; a key
that begins with ``$`` is escaped with a second one, so that no user data can look like bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from typing import Any

_LENGTH = struct.Struct(">I")
_BYTES = "$bytes"


def encode(value: Any) -> bytes:
    """Return the JSON of ``value`` (None, bool, numbers, str, bytes, lists, dicts with str keys)."""
    return json.dumps(_escape(value), separators=(",", ":")).encode()


def decode(raw: bytes) -> Any:
    """Return what ``encode`` was given (tuples come back as lists)."""
    return json.loads(raw, object_hook=_unescape)


def _escape(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {f"${key}" if key.startswith("$") else key: _escape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    return value


def _unescape(found: dict[str, Any]) -> Any:
    if len(found) == 1 and _BYTES in found:
        return base64.b64decode(found[_BYTES])
    return {key.removeprefix("$"): item for key, item in found.items()}


class Channel:
    """One end of the pipe."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Take over one end of a connected socket pair."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer)

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message.

        Raises:
            ConnectionError: The other end is gone.
        """
        raw = encode(message)
        # One write per frame: concurrent senders cannot interleave.
        self._writer.write(_LENGTH.pack(len(raw)) + raw)
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None when the other end is gone."""
        try:
            (size,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message: dict[str, Any] = decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def close(self) -> None:
        """Close this end; the other end's ``receive`` returns None."""
        self._writer.close()
