"""The bugs, as data. A snippet stands exactly once in its file; it is as short as that allows."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = "django_durable/engine"


@dataclass(frozen=True)
class Edit:
    """Replace ``old`` in one file of the repository."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """A bug, and the tests that catch it on a database; the most general one that does comes first."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    database: str = "sqlite"


# What every tree must still be able to play: it starts, sleeps, is woken and returns.
STORY = "tests/engine/test_timers.py::test_a_sleep_frees_the_worker_and_ends_on_time"

# Where no test was written for one bug: these look for whatever breaks an invariant or a budget.
GENERAL = {
    "tests/concurrency/test_all_orders.py",
    "tests/concurrency/test_chaos_dispatch.py",
    "tests/concurrency/test_lost_replies.py",
    "tests/crash/test_crash_sweep.py",
    "tests/crash/test_schedules_sweep.py",
    "tests/engine/test_budgets.py",
}

_SWEEP = "tests/crash/test_crash_sweep.py::test_every_crash_is_recovered"
_ORDERS = "tests/concurrency/test_all_orders.py::test_in_every_order"
_REPLIES = "tests/concurrency/test_lost_replies.py::test_every_lost_reply_is_looked_up"
_LEASES = "tests/concurrency/test_leases.py"
_BESIDE = "tests/engine/test_side_by_side.py"
_CLOCKS = "tests/concurrency/test_wrong_clocks.py"
_FINDING = "tests/client/test_finding.py"

_CADENCE = "tests/cadence"
_OVERLAP = "tests/schedules/test_overlap.py"

BUGS = (
    Bug(
        "refused-read-fails-the-workflow",
        (
            Edit(
                "django_durable/engine/recorder.py",
                """            yield
        except Error as error:""",
                """            yield
        except ZeroDivisionError as error:""",
            ),
        ),
        ("tests/engine/test_refused_reads.py::test_a_read_that_is_refused_is_tried_again",),
    ),
    Bug(
        "a-time-in-a-gap-runs-late",
        (
            Edit(
                "django_durable/cadence/zones.py",
                "    return _end_of_gap(wall, zone, instant)",
                "    return instant",
            ),
        ),
        (
            f"{_CADENCE}/test_reference.py::test_around_each_change_of_a_clock_the_ticks_are_those_of_the_reference",
            f"{_CADENCE}/test_clock_changes.py::test_a_change_of_the_clock",
        ),
    ),
    Bug(
        "a-time-in-a-fold-runs-twice",
        (
            Edit(
                "django_durable/cadence/cron.py",
                "            if instant > moment:\n",
                "            if instant <= moment:\n"
                "                instant = wall.replace(tzinfo=self._zone, fold=1).astimezone(moment.tzinfo)\n"
                "            if instant > moment:\n",
            ),
        ),
        (
            f"{_CADENCE}/test_clock_changes.py::test_while_the_clock_repeats_itself_the_next_time_is_behind_that",
            f"{_CADENCE}/test_reference.py::test_around_each_change_of_a_clock_the_ticks_are_those_of_the_reference",
        ),
    ),
    Bug(
        "an-interval-from-now",
        (
            Edit(
                "django_durable/cadence/interval.py",
                "            return self.anchor + (passed + 1) * self.every",
                '            return to_instant(moment, "moment") + self.every',
            ),
        ),
        (
            f"{_CADENCE}/test_properties.py::test_from_anywhere_before_a_tick_that_tick_is_next",
            f"{_CADENCE}/test_interval.py::test_ticks_are_counted_from_the_anchor_and_not_from_the_moment",
        ),
    ),
    Bug(
        "canary-deletes-what-is-open",
        (
            Edit(
                "django_durable/client/selfcheck.py",
                "executions.closed().filter(workflow=name)",
                "executions.filter(workflow=name)",
            ),
        ),
        ("tests/health/test_canary.py::test_runs_that_are_still_open_are_never_deleted",),
    ),
    Bug(
        "silent-workers-count",
        (
            Edit(
                "django_durable/models/node.py",
                "return self.filter(seen_at__gt=DatabaseNow() - timedelta(seconds=seconds))",
                "return self.all()",
            ),
        ),
        ("tests/health/test_report.py::test_a_worker_that_was_silent_for_long_does_not_count",),
    ),
    Bug(
        "no-fence-on-checkpoint",
        (
            Edit(
                f"{ENGINE}/statements.py",
                'f"{_quoted(connection, str(field.column))} = %s" for field in fence',
                'f"{_quoted(connection, str(field.column))} = %s" if field.name != "token" else "%s IS NOT NULL"'
                " for field in fence",
            ),
        ),
        (f"{_ORDERS}[heartbeat x reclaim]", f"{_ORDERS}[claim x lease expiry]", _LEASES),
    ),
    Bug(
        "fence-by-worker-name",
        (
            Edit(f"{ENGINE}/statements.py", '("execution", "token", *(', '("execution", "holder", *('),
            Edit(
                f"{ENGINE}/statements.py",
                "params += (execution_id, token) if wake_seq is None else (execution_id, token, wake_seq)",
                "from django_durable.engine import holders\n\n"
                "    me = holders.this_process()\n"
                "    params += (execution_id, me) if wake_seq is None else (execution_id, me, wake_seq)",
            ),
            Edit(
                "django_durable/models/timer.py",
                "return self.filter(execution_id=execution_id, token=token)",
                "from django_durable.engine import holders\n\n"
                "        return self.filter(execution_id=execution_id, holder=holders.this_process())",
            ),
        ),
        (f"{_ORDERS}[heartbeat x reclaim]", f"{_ORDERS}[claim x lease expiry]", _LEASES),
    ),
    Bug(
        "check-then-park",
        (
            Edit(
                f"{ENGINE}/journal.py",
                "    return bool(timers.filter(wake_seq=known).update(",
                "    if not timers.filter(wake_seq=known).exists():\n"
                "        return False\n"
                "    return bool(timers.update(",
            ),
        ),
        (f"{_ORDERS}[park x signal]",),
        database="postgres",
    ),
    Bug(
        "park-without-wake-seq",
        (
            Edit(
                f"{ENGINE}/journal.py",
                "timers.filter(wake_seq=known).update(",
                "timers.update(",
            ),
        ),
        (f"{_ORDERS}[park x signal]",),
    ),
    Bug(
        "no-bump-while-it-runs",
        (
            Edit(
                "django_durable/models/timer.py",
                'F("wake_seq") + 1',
                'F("wake_seq") + Case(When(token__isnull=True, then=1), default=0)',
            ),
        ),
        (f"{_ORDERS}[park x signal]",),
    ),
    Bug(
        "hint-before-commit",
        (
            Edit(
                "django_durable/dispatch.py",
                'find it.", execution_id, exc_info=True)\n\n    transaction.on_commit(hint, using=using, robust=True)',
                'find it.", execution_id, exc_info=True)\n\n    hint()',
            ),
        ),
        ("tests/unit/test_dispatch.py",),
    ),
    Bug(
        "no-sweep",
        (Edit(f"{ENGINE}/tick.py", "claims.release_dead(using=using)", "return []"),),
        (f"{_ORDERS}[tick x tick]",),
    ),
    Bug(
        "signals-in-the-order-of-their-ids",
        (Edit("django_durable/models/signal.py", '.order_by("seq")', '.order_by("id")'),),
        (_CLOCKS,),
    ),
    Bug(
        "no-unique-key-on-checkpoint",
        (
            Edit(
                "django_durable/models/step.py",
                'fields=["execution", "position"], name',
                'fields=["execution", "position", "id"], name',
            ),
            Edit(
                "django_durable/migrations/0001_initial.py",
                'fields=("execution", "position"), name',
                'fields=("execution", "position", "id"), name',
            ),
        ),
        ("tests/models/test_constraints.py", "tests/engine/test_statements.py"),
    ),
    # The key of a schedule's tick arrives with schedules; until then, what is due by the clock of whoever polls.
    Bug(
        "tick-by-the-pollers-clock",
        (
            Edit(
                f"{ENGINE}/statements.py",
                "        return database_now_sql(connection) % (), []",
                '        return "%s", [_field(Timer, "due_at").get_db_prep_value(clock.now(), connection)]',
            ),
        ),
        (_CLOCKS,),
    ),
    Bug(
        "timer-by-the-workers-clock",
        (
            Edit(
                f"{ENGINE}/claims.py",
                "return self.database_now + timedelta(seconds=clock.monotonic() - self.taken_at)",
                "return clock.now()",
            ),
        ),
        (_CLOCKS,),
    ),
    Bug(
        "raw-value-in-the-first-run",
        (
            Edit(
                f"{ENGINE}/steps.py",
                "        matcher.settle(call, _completed(matcher, call, outcome(), attempt))\n",
                "        matcher.settle(call, _completed(matcher, call, value := outcome(), attempt))\n"
                "        vars(matcher).setdefault('raw', {})[call.name] = value\n",
            ),
            Edit(
                f"{ENGINE}/steps.py",
                "    return _outcome(matcher, call.recorded, definition), call",
                "    raw = vars(matcher).get('raw', {})\n"
                "    return raw.pop(name) if name in raw else _outcome(matcher, call.recorded, definition), call",
            ),
        ),
        (f"{_SWEEP}[plain steps]",),
    ),
    Bug(
        "suspend-is-an-exception",
        (Edit("django_durable/control_flow.py", "class Suspend(ControlFlow):", "class Suspend(Exception):"),),
        ("tests/engine/test_outcomes.py",),
    ),
    Bug(
        "none-taken-for-no-checkpoint",
        (
            Edit(
                f"{ENGINE}/steps.py",
                "    while call.recorded is None or",
                "    if call.recorded and call.recorded.result and payloads.load(call.recorded.result) is None:\n"
                "        call.recorded = None\n"
                "    while call.recorded is None or",
            ),
        ),
        (f"{_SWEEP}[sleep]",),
    ),
    Bug(
        "claims-counted-after-the-run",
        (
            Edit(f"{ENGINE}/claims.py", 'holder=holder, claims=F("claims") + 1, due_at', "holder=holder, due_at"),
            Edit(
                f"{ENGINE}/statements.py",
                "holder = %s, claims = claims + 1, due_at",
                "holder = %s, due_at",
            ),
            Edit(
                f"{ENGINE}/claims.py",
                "        claims,\n        progress,\n",
                "        claims + 1,\n        progress,\n",
            ),
            Edit(
                f"{ENGINE}/advance.py",
                "            _run_pass(claim)\n",
                "            _run_pass(claim)\n            claim.timers().update(claims=claim.claims)\n",
            ),
        ),
        ("tests/engine/test_advance_stuck.py::test_an_execution_that_keeps_losing_its_workers_is_set_aside",),
    ),
    Bug(
        "retry-without-reading-again",
        (Edit(f"{ENGINE}/reconnect.py", "found = written() if number else None", "found = None"),),
        (f"{_REPLIES}[atomic steps-after]", f"{_REPLIES}[two signals of one name-after]"),
        database="postgres",
    ),
    Bug(
        "one-query-per-step-of-the-history",
        (
            Edit(
                f"{ENGINE}/history.py",
                'One SELECT, no model instances."""\n',
                'One for each step."""\n'
                "    pks = Step.objects.using(using).history(execution_id).values_list('pk', flat=True)\n"
                "    return [found for pk in pks if (found := find(pk, using=using))]\n",
            ),
        ),
        ("tests/engine/test_budgets.py",),
        database="postgres",
    ),
    # Not of the list: bugs that were nearly released.
    Bug(
        "sleep-over-20-ms-early",
        (
            Edit(
                f"{ENGINE}/timers.py",
                "if due_at <= matcher.claim.now():",
                "if due_at <= matcher.claim.now() + timedelta(milliseconds=20):",
            ),
        ),
        ("tests/engine/test_timers.py::test_a_sleep_is_not_a_millisecond_early",),
    ),
    Bug(
        "second-claim-taken-for-the-first-pass",
        (
            Edit(
                f"{ENGINE}/advance.py",
                "return claim.claims == 1 and execution.started_at is None",
                "return execution.started_at is None",
            ),
        ),
        ("tests/engine/test_advance.py::test_a_pass_that_dies_is_taken_up_where_it_was",),
    ),
    Bug(
        "token-that-is-good-for-two",
        (
            Edit(
                "django_durable/client/messages.py",
                "text, signal_id=address.signal_id, using",
                "text, signal_id=None, using",
            ),
        ),
        (f"{_ORDERS}[token x token]", "tests/client/test_tokens.py"),
    ),
    Bug(
        "token-of-any-signal",
        (Edit(f"{ENGINE}/tokens.py", "kind=Kind.TOKEN, target=signal)", "kind=Kind.TOKEN)"),),
        ("tests/client/test_tokens.py::test_a_token_is_good_for_the_signal_it_was_issued_for",),
    ),
    Bug(
        "start-committed-before-its-signal",
        (
            Edit(
                "django_durable/client/messages.py",
                "    with transaction.atomic(using=using):\n        exec",
                "    if True:\n        exec",
            ),
        ),
        (f"{_ORDERS}[signal with start x worker]",),
    ),
    Bug(
        "heartbeat-never-tells-of-a-lost-lease",
        (Edit(f"{ENGINE}/heartbeat.py", "claim.lost = True", "claim.lost = False"),),
        (f"{_LEASES}::test_the_heartbeat_notices_a_lost_lease",),
    ),
    Bug(
        "dry-run-runs-what-is-not-recorded",
        (Edit(f"{ENGINE}/dry_run.py", "clock.now(), lost=True)", "clock.now())"),),
        ("tests/replay/test_dry_run.py",),
    ),
    Bug(
        "verdict-after-one-read",
        (Edit(f"{ENGINE}/survey.py", "if found.verdict is Verdict.FITS:", "if found.verdict:"),),
        ("tests/concurrency/test_survey_races.py",),
    ),
    Bug(
        "close-without-the-lease",
        (
            Edit(
                f"{ENGINE}/compound.py",
                "held_by(execution.pk, token)._raw_delete",
                "filter(pk=execution.pk)._raw_delete",
            ),
            Edit(f"{ENGINE}/compound.py", "execution_id = %s AND token = %s ", "execution_id = %s AND %s IS NOT NULL "),
        ),
        (
            f"{_ORDERS}[heartbeat x reclaim]",
            f"{_ORDERS}[finish x terminate]",
            f"{_ORDERS}[claim x lease expiry]",
            _LEASES,
        ),
    ),
    Bug(
        "part-parks-on-news-that-it-has-not-seen",
        (Edit(f"{ENGINE}/transitions.py", "            seen=park.wake_seq,\n", ""),),
        (f"{_ORDERS}[park branches x signal]",),
    ),
    Bug(
        "update-recorded-before-the-wait-that-it-ends",
        (Edit(f"{ENGINE}/updates.py", "        _open(matcher, outcome)\n", "        pass\n"),),
        ("tests/engine/test_updates.py::test_what_came_before_the_first_pass_is_answered_at_the_first_wait",),
    ),
    Bug(
        "branch-sees-what-another-one-changes",
        (
            Edit(
                f"{ENGINE}/matching.py",
                "View(self.shared.log, branch.scope, self.view, call.recorded.position)",
                "View(self.shared.log)",
            ),
        ),
        ("tests/engine/test_state.py::test_a_branch_sees_what_was_there_and_its_own_changes",),
    ),
    Bug(
        "update-answered-twice-when-news-comes",
        (Edit(f"{ENGINE}/journal.py", "if signal.id not in answered]", "]"),),
        ("tests/engine/test_updates.py::test_news_between_the_answer_and_the_park_is_looked_at",),
    ),
    Bug(
        "continued-over-a-cancellation",
        (Edit(f"{ENGINE}/succession.py", "if old.cancel_requested_at is not None:", "if False:"),),
        ("tests/engine/test_continuing.py",),
    ),
    Bug(
        "pending-signals-left-behind",
        (Edit(f"{ENGINE}/succession.py", "        if old.timer.wake_seq:\n", "        if False:\n"),),
        ("tests/engine/test_continuing.py",),
    ),
    Bug(
        "loop-asks-its-condition-again",
        (Edit(f"{ENGINE}/loops.py", "if call.recorded is None:", "if True:"),),
        ("tests/engine/test_loops.py",),
    ),
    Bug(
        "compensation-in-forward-order",
        (Edit(f"{ENGINE}/sagas.py", "for latest in reversed([", "for latest in list(["),),
        (f"{_SWEEP}[saga that fails]",),
    ),
    Bug(
        "the-end-of-a-saga-is-asked-again",
        (Edit(f"{ENGINE}/matching.py", "if recorded.kind == Kind.ROLLBACK:", "if False:"),),
        ("tests/engine/test_sagas.py::test_the_end_is_decided_once_whatever_the_code_does_at_the_next_replay",),
    ),
    Bug(
        "delivery-taken-twice",
        (
            Edit(
                f"{ENGINE}/leasing.py",
                "rows.filter(pk=found).due().update(",
                "rows.filter(pk=found).update(",
            ),
        ),
        ("tests/concurrency/test_all_orders.py::test_deliveries_in_every_order[deliver x deliver]",),
    ),
    Bug(
        "delivery-without-fence",
        (Edit(f"{ENGINE}/leasing.py", "filter(pk=delivery.pk).held_by(delivery.token)", "filter(pk=delivery.pk)"),),
        ("tests/engine/test_deliveries.py::test_a_lease_that_has_run_out_is_another_ones",),
    ),
    Bug(
        "deliveries-after-the-commit-of-their-event",
        (
            Edit(
                f"{ENGINE}/outbox.py",
                "    _address(claim, event.name, event.id)\n",
                "    from django.db import transaction\n"
                "    transaction.on_commit(lambda: _address(claim, event.name, event.id), using=claim.using)\n",
            ),
        ),
        ("tests/crash/test_crash_sweep.py::test_every_crash_of_an_event_is_recovered[one event]",),
    ),
    Bug(
        "feed-numbered-twice",
        (Edit(f"{ENGINE}/feed.py", "_heads(using).filter(position=last).update(", "_heads(using).update("),),
        (f"{_ORDERS}[number x number]", "tests/concurrency/test_feed_races.py"),
    ),
    Bug(
        "feed-numbered-in-a-callers-transaction",
        (Edit(f"{ENGINE}/feed.py", "if _is_in_a_callers_transaction(using):", "if False:"),),
        ("tests/engine/test_feed.py::test_a_rolled_back_callers_transaction_gives_no_position_out",),
    ),
    Bug(
        "webhook-routed-without-its-position",
        (
            Edit(
                f"{ENGINE}/webhooks/routing.py",
                "filter(pk=endpoint.pk, active=True, position=endpoint.position)",
                "filter(pk=endpoint.pk, active=True)",
            ),
        ),
        ("tests/concurrency/test_all_orders.py::test_webhooks_in_every_order[route x route]",),
    ),
    Bug(
        "webhook-asks-inside",
        (Edit(f"{ENGINE}/webhooks/addresses.py", "        if not is_allowed(address):\n", "        if False:\n"),),
        ("tests/engine/test_webhook_sending.py",),
    ),
    Bug(
        "event-recorded-after-the-next-body",
        (Edit(f"{ENGINE}/steps.py", "elif not definition.atomic:", "elif False:"),),
        ("tests/engine/test_outbox.py::test_a_body_that_takes_its_worker_along_takes_no_event_along",),
    ),
    Bug(
        "event-without-its-row",
        (Edit(f"{ENGINE}/journal.py", "if checkpoint.beside is not None:", "if False:"),),
        ("tests/engine/test_outbox.py::test_an_event_is_a_checkpoint_and_a_row_of_one_id",),
    ),
    Bug(
        "running-body-of-a-branch-is-interrupted",
        (Edit(f"{ENGINE}/matching.py", "numbered in self.shared.in_flight or ", ""),),
        (f"{_BESIDE}::test_what_ran_beside_the_failure_is_recorded_and_undone",),
    ),
    Bug(
        "running-loser-is-forgotten",
        (Edit(f"{ENGINE}/branches.py", "is not None or runs or bool", "is not None or bool"),),
        (f"{_BESIDE}::test_the_first_to_complete_wins_and_the_loser_is_waited_for_and_undone",),
    ),
    Bug(
        "what-runs-is-not-recorded-at-the-end-of-a-pass",
        (Edit(f"{ENGINE}/side_by_side.py", "while is_recorded and self._in_flight:", "while False:"),),
        (f"{_BESIDE}::test_what_runs_is_recorded_too_when_an_atomic_step_finds_the_worker_stopping",),
    ),
    Bug(
        "branch-entered-again-keeps-its-compensations",
        (
            Edit(
                f"{ENGINE}/branches.py",
                "    matcher.shared.forget_compensations(branch.scope.scope)\n    is_called_off",
                "    is_called_off",
            ),
        ),
        (f"{_BESIDE}::test_they_are_undone_in_the_reverse_order_of_their_completion",),
    ),
    Bug(
        "threads-keep-their-connections",
        (Edit(f"{ENGINE}/side_by_side.py", "            connections.close_all()\n", "            pass\n"),),
        (f"{_BESIDE}::test_each_thread_has_a_connection_of_its_own_and_closes_it",),
    ),
    Bug(
        "a-later-branch-is-compared-too-late",
        (Edit(f"{ENGINE}/recorder.py", "        disproof = self.shared.disproof()\n", "        disproof = None\n"),),
        ("tests/engine/test_branches.py", "tests/replay/test_code_edits.py"),
    ),
    Bug(
        "a-branch-that-is-over-goes-on",
        (
            Edit(
                f"{ENGINE}/policies.py",
                'recorded."""\n        return self.unmet or (self.outer.left if self.outer is not None else None)',
                'recorded."""\n        return self.unmet',
            ),
        ),
        ("tests/replay/test_code_edits.py", "tests/replay/test_patches.py"),
    ),
    Bug(
        "a-patch-is-new-wherever-it-is-asked",
        (Edit(f"{ENGINE}/patches.py", "if is_behind and", "if False and"),),
        ("tests/replay/test_patches.py",),
    ),
    Bug(
        "a-name-may-change-its-kind",
        (Edit(f"{ENGINE}/policies.py", "if recorded.kind != kind:", "if False:"),),
        ("tests/replay/test_tolerant_matching.py",),
    ),
    Bug(
        "new-work-before-the-mark-of-a-rollback",
        (
            Edit(
                f"{ENGINE}/policies.py",
                "return None if recorded.is_settled else self.left",
                "return None",
            ),
        ),
        ("tests/replay/test_tolerant_matching.py",),
    ),
    Bug(
        "coroutines-resumed-in-the-order-of-calls",
        (
            Edit(
                f"{ENGINE}/coroutines.py",
                "(completed_at, self._counted, pending)",
                "(_AT_ONCE, self._counted, pending)",
            ),
        ),
        (
            "tests/engine/test_coroutine_order.py",
            "tests/engine/test_coroutines.py::test_the_first_of_several_is_the_same_one_at_every_replay",
            "tests/engine/test_coroutines.py::test_as_completed_gives_them_in_the_recorded_order",
        ),
    ),
    Bug(
        "a-task-is-over-when-its-creator-goes-on",
        (Edit(f"{ENGINE}/matching.py", "outer=self.policy.outer or Beside(", "outer=self.policy or Beside("),),
        ("tests/engine/test_coroutine_calls.py", "tests/engine/test_coroutine_order.py"),
    ),
    Bug(
        "coroutines-see-the-state-by-positions",
        (
            Edit(
                f"{ENGINE}/state.py",
                "matcher.next_recorded if course is None else course.seen(matcher.shared.log)",
                "matcher.next_recorded",
            ),
        ),
        ("tests/engine/test_coroutine_calls.py", "tests/engine/test_coroutine_order.py"),
    ),
    Bug(
        "a-race-decided-by-a-cancellation",
        (Edit(f"{ENGINE}/matching.py", "if call.kind in UNINTERRUPTED else", "if call.is_undoing else"),),
        ("tests/engine/test_branches.py::test_a_cancellation_that_comes_while_a_race_is_won_leaves_no_wait_open",),
    ),
    Bug(
        "a-claimed-start-is-joined",
        (
            Edit(
                f"{ENGINE}/coalescing.py",
                "timers.filter(claims=0, token__isnull=True).update(",
                "timers.filter().update(",
            ),
        ),
        ("tests/client/test_coalescing.py",),
    ),
    Bug(
        "a-pending-start-is-joined-without-its-lock",
        (Edit(f"{ENGINE}/coalescing.py", '.update(claims=F("claims"))', ".exists()"),),
        (f"{_ORDERS}[replace x claim]",),
        database="postgres",
    ),
    Bug(
        "a-cursor-that-knows-only-the-time",
        (Edit(f"{ENGINE}/pages.py", "(Q(created_at__lt=at) | Q(pk__gt=self.id))", "Q(created_at__lt=at)"),),
        (f"{_FINDING}::test_the_pages_of_what_the_database_has_dated_at_once",),
    ),
    Bug(
        "a-cursor-that-compares-times-as-sqlite-writes-them",
        (Edit(f"{ENGINE}/pages.py", 'if connections[using].vendor != "sqlite":', "if connections[using].vendor:"),),
        (f"{_FINDING}::test_the_pages_of_what_the_database_has_dated_at_once",),
    ),
    Bug(
        "labels-searched-beside-their-index",
        (
            Edit(
                "django_durable/models/labels.py",
                "labels__contains=dict(labels)), HAS_LABELS]",
                "labels__contains=dict(labels))]",
            ),
        ),
        ("tests/models/test_plans.py::test_a_page_of_few_is_found_by_the_index_of_what_they_have_in_common",),
        database="postgres",
    ),
    Bug(
        "an-entry-in-a-transaction-of-its-own",
        (
            Edit(
                f"{ENGINE}/journal.py",
                "transaction.atomic(using=self.claim.using) if telling.writes(self.claim) else nullcontext()",
                "nullcontext()",
            ),
        ),
        (
            "tests/engine/test_audit.py::test_a_step_whose_entry_cannot_be_written_is_not_recorded",
            "tests/crash/test_telling_sweep.py",
        ),
    ),
    Bug(
        "lines-stored-before-what-follows-them",
        (
            Edit(
                f"{ENGINE}/log_lines.py",
                "    claim.log_lines.append(line)\n",
                "    claim.log_lines.append(line)\n    store(claim)\n",
            ),
        ),
        ("tests/engine/test_log_lines.py::test_a_line_is_there_exactly_if_the_checkpoint_behind_it_is",),
    ),
    Bug(
        "progress-from-inside-a-bodys-transaction",
        (Edit(f"{ENGINE}/progress.py", "if is_inside or not self", "if not self"),),
        ("tests/engine/test_progress.py::test_an_atomic_body_leaves_its_word_to_the_pass",),
    ),
    Bug(
        "every-claim-counted-as-a-recovery",
        (Edit(f"{ENGINE}/advance.py", "    if claim.claims > 1:\n", "    if claim.claims >= 1:\n"),),
        ("tests/engine/test_audit.py::test_a_lease_that_was_given_back_is_not_recovered",),
    ),
    Bug(
        "prune-without-a-second-look",
        (Edit(f"{ENGINE}/retention.py", "    if held.get(row.id) != row:\n        return False\n", ""),),
        (f"{_ORDERS}[prune x prune]", f"{_ORDERS}[prune x retry]"),
        database="postgres",
    ),
    Bug(
        "prune-reads-no-parents",
        (
            Edit(
                f"{ENGINE}/retention.py",
                'yield Q(parent=None) | (Q(fan_out=None) & Exists(executions.closed().filter(pk=OuterRef("parent"))))',
                "",
            ),
        ),
        ("tests/engine/test_retention.py::test_children_of_a_map_stay_as_long_as_their_parent",),
    ),
    Bug(
        "rows-go-though-the-archive-has-failed",
        (
            Edit(
                f"{ENGINE}/retention.py",
                "    archive = archiving.write([row.id for row in light], using=using)\n",
                "    try:\n        archive = archiving.write([row.id for row in light], using=using)\n"
                "    except OSError:\n        archive = None\n",
            ),
        ),
        ("tests/engine/test_archiving.py::test_a_storage_that_fails_has_nothing_deleted",),
    ),
    Bug(
        "retry-counts-signals-anew",
        (Edit(f"{ENGINE}/retrying.py", "wake_seq=(latest or 0) + 1,", "wake_seq=1,"),),
        ("tests/engine/test_retrying.py::test_signals_that_come_after_a_retry_have_new_numbers",),
    ),
    Bug(
        "retry-keeps-the-key-of-what-completed",
        (Edit(f"{ENGINE}/steps.py", "run = matcher.shared.runs[call.name] + 1", "run = 1"),),
        ("tests/engine/test_retrying.py::test_what_had_completed_has_a_new_idempotency_key_when_it_runs_again",),
    ),
    Bug(
        "going-back-undoes-the-first-first",
        (
            Edit(
                f"{ENGINE}/going_back.py",
                "key=lambda each: each.completed, reverse=True)",
                "key=lambda each: each.completed)",
            ),
        ),
        ("tests/engine/test_going_back.py::test_what_lies_behind_the_step_is_undone_in_reverse_and_made_again",),
    ),
    Bug(
        "going-back-undoes-what-was-undone",
        (Edit(f"{ENGINE}/going_back.py", " and each.step_id not in undone]", "]"),),
        ("tests/engine/test_going_back.py::test_what_the_workflow_itself_has_undone_is_not_undone_again",),
    ),
    Bug(
        "going-back-undoes-what-lies-before",
        (Edit(f"{ENGINE}/going_back.py", "if each.completed[1] >= at and", "if"),),
        ("tests/engine/test_going_back.py::test_what_lies_behind_the_step_is_undone_in_reverse_and_made_again",),
    ),
    Bug(
        "going-back-forgets-what-async-parts-offered",
        (Edit(f"{ENGINE}/going_back.py", "learnt.shared.offered.values()", "learnt.shared.compensations"),),
        ("tests/engine/test_going_back.py::test_so_it_is_in_async_code",),
    ),
    Bug(
        "going-back-loses-what-the-code-does-not-come-to",
        (Edit(f"{ENGINE}/going_back.py", "and each.name not in learnt.asked", "and False"),),
        ("tests/engine/test_going_back.py::test_tolerant_code_that_does_not_come_to_a_step_undoes_nothing",),
    ),
    Bug(
        "going-back-without-the-fence",
        (
            Edit(
                f"{ENGINE}/going_back.py",
                "if not claim.timers().update(**released, due_at=DatabaseNow()):",
                "if not claim.timers().update(**released, due_at=DatabaseNow()) and False:",
            ),
        ),
        ("tests/engine/test_going_back.py::test_one_that_lost_its_lease_sets_nothing_aside",),
    ),
    Bug(
        "going-back-begins-the-open-compensation-anew",
        (
            Edit(
                f"{ENGINE}/going_back.py",
                "        if each.is_settled or each.kind != Kind.COMPENSATION or",
                "        if True or each.kind != Kind.COMPENSATION or",
            ),
        ),
        ("tests/engine/test_going_back.py::test_of_a_rollback_that_is_stuck_only_what_is_left_is_undone",),
    ),
    Bug(
        "child-retried-while-its-parent-goes-back",
        (Edit(f"{ENGINE}/families.py", "    if recorded.filter(kind=Kind.BACK).exists():", "    if False:"),),
        ("tests/engine/test_going_back.py::test_a_child_of_one_that_goes_back_is_not_retried_by_itself",),
    ),
    Bug(
        "chores-share-one-failure",
        (
            Edit(
                f"{ENGINE}/chores.py",
                "    except Error:\n        raise\n",
                "    except Exception:\n        raise\n",
            ),
        ),
        ("tests/engine/test_retention.py::test_a_storage_that_fails_keeps_no_other_chore_waiting",),
    ),
    Bug(
        "orphans-are-about-nothing",
        (
            Edit(
                f"{ENGINE}/retention.py",
                "            if all(subject):\n                heirs",
                "            if False:\n                heirs",
            ),
        ),
        ("tests/engine/test_erasure.py::test_descendants_whose_parents_were_pruned_first_are_erased_too",),
    ),
    Bug(
        "child-of-a-map-counted-twice",
        (Edit(f"{ENGINE}/countdown.py", 'update(remaining=F("remaining") + 1)', 'update(remaining=F("remaining"))'),),
        ("tests/engine/test_retrying.py::test_a_child_of_a_map_that_is_retried_alone_is_counted_once",),
    ),
    Bug(
        "limit-counted-without-lock",
        (
            Edit(
                f"{ENGINE}/slots.py",
                'if not rows.update(capacity=F("capacity") if capacity is None else capacity):',
                "if not rows.exists():",
            ),
        ),
        (f"{_ORDERS}[arrival x arrival at a limit]",),
        "postgres",
    ),
    Bug(
        "slots-given-back-unmarked",
        (Edit(f"{ENGINE}/slots.py", "slots.update(execution=None, token=None)", "slots._raw_delete(using=using)"),),
        ("tests/engine/test_gate.py::test_a_slot_that_was_given_back_and_not_handed_on_is_found",),
    ),
    Bug(
        "waiter-does-not-see-a-cancel",
        (
            Edit(
                f"{ENGINE}/gate.py",
                "    if not fence(claim, **changes):",
                '    if not claim.timers().update(**changes or {"token": claim.token}):',
            ),
        ),
        (f"{_ORDERS}[arrival at a limit x cancel]",),
        "postgres",
    ),
    Bug(
        "step-slot-is-no-news",
        (Edit(f"{ENGINE}/slots.py", "TimerQuerySet.news() if slot.step else {", "{"),),
        ("tests/engine/test_step_limits.py::test_one_that_is_given_a_slot_while_it_asks_does_not_park",),
    ),
    Bug(
        "body-keeps-its-slot",
        (
            Edit(
                f"{ENGINE}/steps.py",
                """error, attempt=attempt)
    step_limits.give_back(matcher, call)""",
                "error, attempt=attempt)",
            ),
        ),
        ("tests/engine/test_step_limits.py::test_the_slot_is_free_as_soon_as_the_outcome_is_recorded",),
    ),
    Bug(
        "database-error-of-a-slot-is-the-functions",
        (
            Edit(
                f"{ENGINE}/step_limits.py",
                "    with matcher.reading():\n        return matcher.recording(",
                "    if True:\n        return matcher.recording(",
            ),
        ),
        ("tests/engine/test_step_limits.py::test_a_database_that_fails_at_a_slot_is_no_failure_of_the_workflow",),
    ),
    Bug(
        "keys-of-steps-stay-for-ever",
        (
            Edit(
                f"{ENGINE}/slots.py",
                "    return bool(list(first))",
                "    from django_durable.definitions import registry\n\n"
                "    return any(definition.limits for definition in registry)",
            ),
        ),
        ("tests/engine/test_step_limits.py::test_keys_that_only_steps_use_are_pruned",),
    ),
    Bug(
        "failed-read-of-a-dry-run-is-the-frontier",
        (
            Edit(
                f"{ENGINE}/dry_run.py",
                "(isinstance(why, Abandon) and not isinstance(why.error, Error))",
                "isinstance(why, Abandon)",
            ),
        ),
        (
            "tests/engine/test_refused_reads.py::test_a_read_that_is_refused_while_it_goes_back_is_no_change_of_the_code",
            "tests/engine/test_refused_reads.py::"
            "test_a_read_that_is_refused_in_the_proof_of_the_other_branches_proves_nothing",
        ),
    ),
    Bug(
        "step-slot-kept-at-the-gate",
        (Edit(f"{ENGINE}/gate.py", "    if execution.limited and not is_in:", "    if False:"),),
        ("tests/engine/test_meetings.py::test_one_that_waits_at_the_gate_keeps_no_slot_of_its_step_from_others",),
    ),
    Bug(
        "slot-of-a-loser-waits-for-the-tick",
        (
            Edit(
                f"{ENGINE}/transitions.py",
                "            slots.pass_up(execution.id, using=claim.using)\n",
                "",
            ),
        ),
        (
            "tests/engine/test_meetings.py::"
            "test_a_slot_that_comes_too_late_for_the_loser_of_a_race_goes_on_at_its_next_park",
        ),
    ),
    Bug(
        "dead-bodies-keep-their-slots",
        (Edit(f"{ENGINE}/slots.py", "        _take_back(limit, slot, using=using)", "        pass"),),
        ("tests/engine/test_step_limits.py::test_a_holder_gives_its_slot_back_with_its_lease",),
    ),
    Bug(
        "late-body-gives-back-the-next-ones-slot",
        (Edit(f"{ENGINE}/step_limits.py", "filter(pk=slot, token=claim.token)", "filter(pk=slot)"),),
        ("tests/engine/test_step_limits.py::test_a_late_body_gives_nothing_back_of_the_next_pass",),
    ),
    Bug(
        "slot-taken-back-before-its-pass",
        (
            Edit(
                "django_durable/models/limit.py",
                'taken.exclude(Exists(runs)).exclude(Q(token=F("id")) & Exists(will_look))',
                "taken.exclude(Exists(runs))",
            ),
        ),
        ("tests/engine/test_step_limits.py::test_what_was_given_is_kept_until_its_pass_has_looked",),
    ),
    Bug(
        "step-passes-those-that-wait",
        (
            Edit(
                f"{ENGINE}/step_limits.py",
                "if own is None and use.room > 0 and not use.has_waiting:",
                "if own is None:",
            ),
        ),
        ("tests/engine/test_step_limits.py::test_one_that_finds_it_full_parks_and_is_woken_when_a_slot_is_given_back",),
    ),
    Bug(
        "slot-kept-while-waiting",
        (
            Edit(
                f"{ENGINE}/transitions.py",
                "            slots.lend(execution, using=claim.using)\n",
                "",
            ),
        ),
        ("tests/engine/test_gate.py::test_one_that_waits_gives_its_slot_back_and_queues_for_it_again",),
    ),
    Bug(
        "cleans-up-without-its-slot",
        (Edit(f"{ENGINE}/gate.py", "    if _is_to_be_taken_back(execution, wanted):\n        return False\n", ""),),
        ("tests/engine/test_gate.py::test_one_that_is_cancelled_while_it_waits_cleans_up_with_a_slot",),
    ),
    Bug(
        "no-worker-keeps-its-slot",
        (
            Edit(
                f"{ENGINE}/transitions.py",
                """        if execution.limited:  # who knows how long it will take
            slots.give_back(execution.id, using=claim.using)
        _set(""",
                "        _set(",
            ),
        ),
        ("tests/engine/test_gate.py::test_one_that_has_no_worker_for_long_gives_its_slot_back",),
    ),
    Bug(
        "debounced-keeps-its-slot",
        (
            Edit(
                f"{ENGINE}/coalescing.py",
                "        if last.limited:  # it does not wait",
                "        if False:  # it does not wait",
            ),
        ),
        ("tests/engine/test_gate.py::test_one_that_is_debounced_holds_no_slot_and_has_no_place[True]",),
    ),
    Bug(
        "next-tick-computed-from-now",
        (
            Edit(
                f"{ENGINE}/schedules/planning.py",
                "    _move_on(schedule, passed.next_at, now)",
                "    _move_on(schedule, times.following(schedule, now), now)",
            ),
        ),
        ("tests/schedules/test_catch_up.py::test_a_very_late_all_is_done_in_bounded_transactions",),
    ),
    Bug(
        "waiting-tick-failed-by-whoever-has-not-got-its-workflow",
        (
            Edit(
                f"{ENGINE}/schedules/planning.py",
                "        if waited >= REFUSED_LONG_SECONDS:",
                "        if waited >= REFUSED_LONG_SECONDS or not is_due:",
            ),
        ),
        ("tests/schedules/test_firing.py::test_what_waits_is_left_to_others_who_know_its_workflow[has ended]",),
    ),
    Bug(
        "waiting-tick-released-though-it-was-paused-meanwhile",
        (
            Edit(
                f"{ENGINE}/schedules/firing.py",
                "    if schedule.status == ScheduleStatus.PAUSED:  #",
                "    if False:  #",
            ),
        ),
        (f"{_OVERLAP}::test_what_waits_does_not_start_if_it_is_paused_between_a_look_and_the_lock",),
    ),
    Bug(
        "schedule-paused-by-failures-in-silence",
        (
            Edit(
                f"{ENGINE}/schedules/planning.py",
                "        plan.gives_up = True",
                "        pass",
            ),
        ),
        ("tests/schedules/test_firing.py::test_so_many_failures_in_a_row_pause_it",),
    ),
    Bug(
        "old-tick-of-a-continued-run-deleted",
        (Edit(f"{ENGINE}/schedules/pruning.py", "CLOSED - {Status.CONTINUED}", "CLOSED"),),
        ("tests/schedules/test_pruning.py::test_one_whose_run_goes_on_in_what_it_was_continued_as_is_kept",),
    ),
    Bug(
        "retried-run-not-open-to-its-schedule",
        (Edit(f"{ENGINE}/retrying.py", "    settling.reopen(execution.pk, using=using)\n", ""),),
        (f"{_OVERLAP}::test_one_that_is_retried_after_its_end_is_open_again[True]",),
    ),
    Bug(
        "schedule-that-meets-a-lock-stops-the-poller",
        (
            Edit(
                f"{ENGINE}/schedules/firing.py",
                "        if not connections[using].is_usable():",
                "        if True:",
            ),
        ),
        ("tests/schedules/test_firing.py::test_one_that_meets_a_lock_is_put_off_a_little_and_the_others_are_not",),
    ),
    Bug(
        "tick-and-start-in-two-transactions",
        (
            Edit(
                f"{ENGINE}/schedules/writing.py",
                "    ticks.bulk_create(new)",
                "    from django.db import transaction\n\n"
                "    transaction.on_commit(lambda: ticks.bulk_create(new) and None, using=using)",
            ),
        ),
        ("tests/crash/test_schedules_sweep.py::test_every_crash_of_a_poller_is_recovered[overlap allow]",),
    ),
    Bug(
        "overlap-not-looked-at",
        (
            Edit(
                f"{ENGINE}/schedules/overlapping.py",
                "    if policy == Overlap.ALLOW or not (is_running or buffered):",
                "    if policy not in STOPPING or not (is_running or buffered):",
            ),
        ),
        ("tests/schedules/test_overlap.py::test_what_each_policy_makes_of_three_ticks_and_of_the_first_one_s_end",),
    ),
    Bug(
        "buffered-tick-released-while-one-runs",
        (
            Edit(
                f"{ENGINE}/schedules/planning.py",
                "        if plan.is_running and plan.schedule.overlap != Overlap.ALLOW:",
                "        if plan.starts and plan.schedule.overlap != Overlap.ALLOW:",
            ),
        ),
        ("tests/schedules/test_overlap.py::test_what_each_policy_makes_of_three_ticks_and_of_the_first_one_s_end",),
    ),
    Bug(
        "schedules-fired-by-the-host-s-clock",
        (Edit(f"{ENGINE}/schedules/firing.py", 'vars(schedule)["database_now"]', "clock.now()"),),
        ("tests/schedules/test_clocks.py::test_a_stop_of_three_days_loses_doubles_and_hastens_nothing",),
    ),
    Bug(
        "jitter-before-the-nominal-time",
        (
            Edit(
                f"{ENGINE}/schedules/times.py",
                "timedelta(seconds=share * jitter_seconds)",
                "timedelta(seconds=(share - 0.5) * jitter_seconds)",
            ),
        ),
        ("tests/schedules/test_firing.py::test_jitter_is_the_same_for_everybody_and_never_early",),
    ),
    Bug(
        "jitter-beyond-the-next-tick",
        (
            Edit(
                f"{ENGINE}/schedules/times.py",
                "jitter_seconds = min(jitter_seconds, (next_at - nominal_at).total_seconds())",
                "pass",
            ),
        ),
        ("tests/schedules/test_firing.py::test_jitter_beyond_the_next_tick_makes_none_late",),
    ),
    Bug(
        "terminated-for-the-next-counts-as-a-failure",
        (
            Edit(
                f"{ENGINE}/schedules/writing.py",
                "            plan.standing.ended[tick] = None  # not counted: it is no failure of its own",
                "            pass",
            ),
        ),
        ("tests/schedules/test_overlap.py::test_a_tick_that_is_terminated_for_the_next_is_no_failure",),
    ),
    Bug(
        "edit-ends-a-pause",
        (
            Edit(
                f"{ENGINE}/schedules/editing.py",
                "        if row.status != ScheduleStatus.PAUSED:\n            row.status =",
                "        if True:\n            row.paused_at = None\n            row.status =",
            ),
        ),
        ("tests/client/test_scheduling.py::test_a_pause_stays_whatever_code_says",),
    ),
    Bug(
        "edit-without-a-lock",
        (
            Edit(
                f"{ENGINE}/schedules/editing.py",
                '    if not rows.update(version=F("version") + 1):',
                "    if not rows.exists():",
            ),
        ),
        (f"{_ORDERS}[schedule: pause x pause]",),
        "postgres",
    ),
    Bug(
        "another-cadence-drops-what-is-due",
        (Edit(f"{ENGINE}/schedules/editing.py", "            _fire_first(edit)", "            pass"),),
        ("tests/client/test_scheduling.py::test_a_tick_that_is_due_is_fired_before_another_cadence_takes_over",),
    ),
    Bug(
        "trigger-at-the-time-of-a-regular-tick",
        (Edit(f"{ENGINE}/schedules/by_hand.py", "cadence.after(at - INSTANT) == at or ", ""),),
        ("tests/client/test_scheduling.py::test_triggers_at_the_time_of_a_regular_tick_stand_beside_it",),
    ),
    Bug(
        "sync-removes-what-it-does-not-know",
        (
            Edit(
                f"{ENGINE}/schedules/declaring.py",
                "        if workflow in known or removes_unknown:",
                "        if workflow in known or not removes_unknown:",
            ),
        ),
        ("tests/schedules/test_declaring.py::test_those_of_workflows_that_are_not_here_are_left_unless_asked",),
    ),
)
