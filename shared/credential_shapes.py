"""What a credential looks like, and what it is called: for whatever is stored, saved or quoted.

A setting is stored and shown to many, so a name that promises a credential is as good as one: keys of Azure
AI are 32 plain hexadecimal digits, which nothing else tells from a checksum.
"""

from __future__ import annotations

import re

_NAME = re.compile(
    r"""(?x)
    (?i: passphrase | passwd | password | secret | token
       | (?:^|[^a-z0-9]) key
       | (?:access|account|admin|api|auth|client|encryption|function|host|license|master|primary|private
          |query|secondary|secret|service|shared|signing|storage|subscription) key
    ) [_.-]?[0-9]{0,2}$
    | [a-z0-9]Key[_.-]?[0-9]{0,2}$
    """
)
"""Names that end in a word for a credential, with a number behind it or not; ``monkey`` has no such word."""
_SHAPE = re.compile(
    r"""(?x)
    -----BEGIN
    | ://[^/\s:@]*:[^/\s@]+@
    | (?<![A-Za-z0-9])
      (?: eyJ[A-Za-z0-9_-]{7} | gh[opsur]_[A-Za-z0-9]{10} | github_pat_[A-Za-z0-9] | xox[abeoprs]-[A-Za-z0-9]
        | (?:AKIA|ASIA)[A-Z0-9]{12} | sk-[A-Za-z0-9_-]{16} )
    | (?<!sha1:)(?<!sha256:)(?<!sha384:)(?<!sha512:)(?<![0-9A-Fa-f])
      (?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9]) [0-9A-Fa-f]{32}
    """
)
"""Private keys, passwords in URLs, tokens by their prefixes (JWT, GitHub, Slack, AWS, OpenAI), and long runs
of hexadecimal letters and digits that are no digest that says so; a GUID's dashes break the run."""


def named(name: str) -> bool:
    """Say whether a setting of this name is expected to hold a credential."""
    return _NAME.search(name) is not None


def shaped(text: str) -> bool:
    """Say whether a text has the shape of a credential in it, whatever it is called."""
    return _SHAPE.search(text) is not None
