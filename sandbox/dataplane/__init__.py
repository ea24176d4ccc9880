"""Data planes with the access checks that Azurite leaves out: blob accounts and a minimal vault."""
