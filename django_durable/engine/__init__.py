"""The engine: takes one execution forward in one pass.

Read ``advance.py`` first; it is the table of contents. One primitive per file (``steps``, ``timers``, ``inbox``,
``notes``), all after one template: enter the call, hand out what is recorded, or do it and record it.

Lock order, everywhere and for everybody: the execution's ``Timer`` row, then the ``Execution`` row, then ``Step``,
``Signal`` and ``AuditEntry`` rows. No transaction spans user code but an atomic step's own, and its fence (the
``Timer`` row) comes last, when nothing else of ours is locked.
"""
