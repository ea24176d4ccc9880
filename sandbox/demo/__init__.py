"""``python -m sandbox demo``: the founding story told in a fresh sandbox by real calls."""
