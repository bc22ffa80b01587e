"""The engine: takes one execution forward in one pass.

Read ``advance.py`` first; it is the table of contents. One primitive per file (``steps``, ``timers``, ``inbox``,
``notes``), all after one template: enter the call, hand out what is recorded, or do it and record it.

Lock order, everywhere and for everybody: the execution's ``Timer`` row, then the ``Execution`` row, then ``Step``,
``Signal`` and ``AuditEntry`` rows; ``FeedHead`` before what it numbers, an endpoint of webhooks before its deliveries.
A limit's ``LimitKey`` row comes before all of them: who holds a ``Timer`` row never locks one; ``Slot`` rows come last.
A ``Schedule`` row comes before that, and its ticks come last; only its pollers and its editors lock
them, and a retry the tick of what it opens again.
Who ends an execution for a person locks the rows above it first: ``FanOut``, the parent's ``Timer``. No transaction
spans user code but an atomic step's own, and its fence (the ``Timer`` row) comes behind that, when nothing else of ours
is locked.
"""
