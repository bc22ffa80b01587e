"""What durability costs here: every figure beside the raw floor measured in the same run.

``python -m benchmarks`` prints a table; ``--json FILE`` keeps it, ``--only NAME`` runs one, ``--database`` picks
where. Timings differ from machine to machine, the ratios much less. The method is told in ``docs/benchmarks.md``.

``measures/`` has one function per group of figures; ``sizes`` says how much each does, ``figures`` what comes out
and how it is judged, ``database`` makes the database and measures the floor, ``workers`` runs the worker processes,
``stopwatch`` takes the time inside them.
"""
