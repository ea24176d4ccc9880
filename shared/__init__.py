"""Mooring's product code: pure core, ports, adapters. See ``CONTRIBUTING.md`` for the map."""
