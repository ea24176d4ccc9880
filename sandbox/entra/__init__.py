"""An Entra emulator: tokens for the sandbox's principals, by secret, assertion or managed identity."""
