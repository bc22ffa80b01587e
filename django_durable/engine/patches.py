"""Patches: two ways in one function, and a record of which of them an execution takes.

Only the new way is recorded in order, so that executions which took the old one before there was a patch are replayed
as they are. By name the old way is recorded too: there what follows may be recorded before the point where it is asked.
"""

from __future__ import annotations

from django_durable.engine import payloads
from django_durable.engine.matching import Matcher
from django_durable.models import Kind


def patched(matcher: Matcher, patch_id: str) -> bool:
    """The answer that was given, else True where nothing has ever gone on from. Costs no commit if anything follows."""
    matcher.check_place()
    if patch_id not in matcher.patches:
        matcher.patches[patch_id] = _ask(matcher, _name(patch_id))
    return matcher.patches[patch_id]


def deprecate(matcher: Matcher, patch_id: str) -> None:
    """Pass the record of a patch, if there is one here."""
    matcher.check_place()
    name = _name(patch_id)
    if patch_id not in matcher.patches and matcher.peek(Kind.PATCH, name) is not None:
        matcher.patches[patch_id] = _ask(matcher, name)


def _name(patch_id: str) -> str:
    return f"__patch:{patch_id}"  # no step can be called that, so asking renumbers none


def _ask(matcher: Matcher, name: str) -> bool:
    policy = matcher.policy
    is_behind = policy.left is not None or (matcher.course is not None and matcher.course.is_behind)
    if is_behind and matcher.peek(Kind.PATCH, name) is None:
        return False
    is_new_way = not policy.has_unasked
    call = matcher.enter(Kind.PATCH, name)
    if call.recorded is None:
        matcher.defer(call, call.checkpoint(result=payloads.dump(is_new_way), finished_at=matcher.claim.now()))
    assert call.recorded is not None
    answer: bool = matcher.stored(payloads.load, call.recorded.result)
    return answer
