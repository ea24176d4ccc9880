"""Adapters behind ``shared/ports.py``; the only place that imports the SDKs of Azure and Kubernetes.

SDK types stay inside: plain values come out, and every error leaves as one of ``shared/errors.py``.
Importing a module here is cheap; each SDK is imported by the method that first needs it.
"""
