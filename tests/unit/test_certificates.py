"""The throw-away CA satisfies strict TLS verification."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sandbox.certificates import make_certificates


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_strict_client_accepts_the_certificate_for_loopback_names(tmp_path: Path, host: str):
    ca_file, cert_file, key_file = make_certificates(tmp_path / "tls")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert_file, key_file)
    client_context = ssl.create_default_context(cafile=ca_file)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname=host
        )
        assert await reader.read() == b"hello"
        writer.close()


async def test_a_client_without_the_ca_refuses_the_certificate(tmp_path: Path):
    _, cert_file, key_file = make_certificates(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert_file, key_file)

    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())


def test_the_private_key_is_readable_by_its_owner_only(tmp_path: Path):
    _, _, key_file = make_certificates(tmp_path)
    assert Path(key_file).stat().st_mode & 0o077 == 0
