"""For measures of one process: nobody is told, so no message is left for a worker that never comes."""

from django.test import override_settings

without_hints = override_settings(DURABLE={"DISPATCHER": "django_durable.dispatch.NullDispatcher"})
