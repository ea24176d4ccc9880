"""Thin triggers: each decodes what the host hands over, calls one function of ``shared``, answers."""
