"""Schedules: what starts executions by the clock, as a part of the tick.

Read ``firing.py`` first. ``times`` knows when a tick is due, ``catching_up`` what becomes of those that are late,
``overlapping`` of those that meet an open execution; these are pure. ``planning`` makes of a schedule what is to be
written, with ``inputs`` for the arguments, ``writing`` writes it, ``settling`` learns how the executions of before have
ended, ``pruning`` deletes old ticks.

``editing`` changes schedules, ``by_hand`` has what people do beside that, ``declaring`` keeps those in step that
workflows declare; ``rows`` is between their description and a row. ``listing`` and ``upcoming`` only look.

A schedule's row is locked for all that is done to it, before any other row of ours: ``Schedule``, then as everywhere.
No worker ever locks one: the end of an execution writes nothing here. The next tick of the poller sees it; so a worker
that dies at that end loses nothing, ends need no further lock, and a buffered tick waits a tick longer at the most.
"""
