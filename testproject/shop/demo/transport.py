"""kombu's broker in a directory, made safe for a reader that looks while a writer writes."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils import json


class Channel(filesystem.Channel):
    """Messages appear whole: written aside, then renamed.

    kombu 5.7 writes in place, so the worker can pick up a message that is still empty, and stops over it.
    """

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # as kombu's own does
        folder = Path(self.data_folder_out)
        name = f"{time.monotonic_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        aside = folder / f"{name}.part"
        text: str = json.dumps(payload)  # type: ignore[no-untyped-call]
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, folder / name)


class Transport(filesystem.Transport):
    Channel = Channel
