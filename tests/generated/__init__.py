"""Small random programs of all primitives, run under random deaths and compared with a plain model.

``programs`` draws them as JSON and shrinks them, ``interpreter`` has the workflows that run one, ``driver`` runs it
under ``faults``, ``observed`` is what is recorded of it and its children, and ``model`` says without the engine what
may be. ``python -m tests.generated --help``.
"""
