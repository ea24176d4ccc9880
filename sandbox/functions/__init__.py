"""A local Azure Functions host for Python apps.

It loads an app through Microsoft's own worker library in a child process and follows the rules
of the real host: queue listener, Event Grid webhook, HTTP front, timers, keys, admin endpoints.
"""
