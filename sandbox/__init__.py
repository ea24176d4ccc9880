"""A whole local Azure to run Mooring in; never imported by ``handlers`` or ``shared``."""
