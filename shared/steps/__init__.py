"""One file a step: ``check`` looks, ``apply`` makes present, ``revert`` makes absent.

Steps know the ports and the rows; they know neither plans nor each other.
"""
