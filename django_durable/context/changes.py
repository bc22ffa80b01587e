"""An old and a new way in one function, for executions that are live while its code changes."""

from __future__ import annotations

from django_durable.context.runtime import Calls
from django_durable.names import check_patch_id


class ChangeCalls(Calls):
    """``ctx.patched`` and ``ctx.deprecate_patch``."""

    def patched(self, patch_id: str) -> bool:
        """Whether to take the new way: False in an execution that was here before, with code without this patch.

        The answer stays the same in every replay, and for every later call of that id in this branch and below it.
        """
        return self._runtime.patched(check_patch_id(patch_id))

    def deprecate_patch(self, patch_id: str) -> None:
        """Instead of ``patched``, once no live execution takes the old way: in code that has only the new one.

        It fits executions that recorded the patch, and those that did not. Remove it when the former have ended.
        """
        self._runtime.deprecate_patch(check_patch_id(patch_id))
