"""The fault storm: real servers, workers and beat, hurt on purpose while they work. ``make storm`` runs it.

``__main__`` starts the servers, ``campaign`` runs one phase per kind of fault, ``phase`` keeps the load going and
judges, ``injector`` hurts. What each witness must say afterwards is ``tests.invariants``.
"""
