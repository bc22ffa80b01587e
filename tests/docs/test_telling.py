"""docs/telling.md names every kind of audit entry, as the code has it, and what each level costs."""

import re

from django_durable.conf import AUDIT_LEVELS
from django_durable.engine import log_lines
from django_durable.engine.orders import VERBS
from django_durable.models import ACTS, LONGEST_MESSAGE, AuditKind, audit_level
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "telling.md").read_text(encoding="utf-8")


def test_the_kinds_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert rows == [(kind.value, audit_level(kind), kind.label) for kind in AuditKind]


def test_the_levels_are_those_of_the_code() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \| (?:what people|also)", PAGE, re.MULTILINE)) == AUDIT_LEVELS


def test_the_bounds_are_those_of_the_code() -> None:
    assert (
        f"{log_lines.MOST_LINES:,} lines of an execution are kept, of {LONGEST_MESSAGE:,} characters"
        in PAGE.replace("\n", " ")
    )


def test_what_verbs_do_is_kept_at_every_level() -> None:
    kinds = {verb.done for verb in VERBS.values() if verb.done}
    assert kinds
    assert {audit_level(kind) for kind in kinds} == {"default"}
    assert not kinds & {kind.value for kind in AuditKind if kind not in ACTS}
