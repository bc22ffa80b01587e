"""Recorded histories against today's code.

``histories/<version>/`` holds what each release recorded; every later release must be able to replay all of it, so
the workflows of ``samples`` never change and these files are never written again. To record the current ones:
``DURABLE_RECORD_HISTORIES=1 python -m pytest tests/replay``.
"""
