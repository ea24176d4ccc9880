"""``python -m sandbox demo``: the story of a connection told in a fresh sandbox by real calls."""
