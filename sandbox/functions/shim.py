"""Stand-ins for the message classes of Microsoft's FunctionRpc protocol.

The worker library is handed a module of message classes and never asks where they come from, so
plain classes do: no gRPC and no protobuf. The names are those of FunctionRpc.proto.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar


class Message:
    """A message whose fields are the keyword arguments it was made with."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class _OneOf(Message):
    kinds: ClassVar[tuple[str, ...]] = ()

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Return the name of the field that is set, as protobuf does."""
        return next((kind for kind in self.kinds if getattr(self, kind, None) is not None), None)


class TypedData(_OneOf):
    """A value on its way into or out of a function."""

    kinds = ("string", "json", "bytes", "http", "int", "double")


class ParameterBinding(_OneOf):
    """A value with the name of the parameter it belongs to."""

    kinds = ("data",)


class StatusResult(Message):
    """How a request ended."""

    Failure = 0
    Success = 1
    Cancelled = 2


class BindingInfo(Message):
    """One binding of a function, with the protocol's numbers for direction and data type."""

    undefined = 0
    out = 1
    inout = 2


class SameSite(enum.IntEnum):
    """The cookie attribute of that name."""

    Unset = 0
    Lax = 1
    Strict = 2
    ExplicitNone = 3


# The protocol's first member is called None, which cannot be written as a name in Python.
setattr(SameSite, "None", SameSite.Unset)


class RpcHttpCookie(Message):
    """A cookie that a function sets."""

    SameSite = SameSite


class RpcHttp(Message):
    """An HTTP request or response."""


class RpcException(Message):
    """What a function raised: ``message`` and ``stack_trace``."""


class RpcFunctionMetadata(Message):
    """One function as the worker indexed it."""


class RpcRetryOptions(Message):
    """A declared retry policy."""


class WorkerMetadata(Message):
    """Which worker this is."""


class WorkerInitResponse(Message):
    """Answer to the first request."""


class FunctionMetadataResponse(Message):
    """Answer with every function of the app."""


class InvocationResponse(Message):
    """Answer to one invocation."""


class FunctionLoadResponse(Message):
    """Answer to a load request; the library does nothing on it."""


class FunctionEnvironmentReloadResponse(Message):
    """Answer to a specialisation request; not sent by this host."""


class NullableString(Message):
    """A string that may be absent."""


class NullableBool(Message):
    """A bool that may be absent."""


class NullableDouble(Message):
    """A number that may be absent."""


class NullableTimestamp(Message):
    """A time that may be absent."""


class Timestamp(Message):
    """Seconds since the epoch."""
