"""What durability costs here: every figure beside the raw floor measured in the same run.

``python -m benchmarks`` prints a table; ``--json FILE`` keeps it, ``--only NAME`` runs one, ``--database`` picks
where. Timings differ from machine to machine, the ratios much less.
"""
