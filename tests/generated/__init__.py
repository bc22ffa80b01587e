"""Small random programs of all primitives, run under random deaths and compared with a plain model.

``programs`` draws them as JSON and shrinks them, ``interpreter`` is the workflow that runs one, ``model`` says without
the engine what may come of it, ``driver`` runs, hurts and compares. ``python -m tests.generated --help``.
"""
