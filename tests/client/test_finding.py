"""find, page, count, executions_for, family: every condition finds its own, and a list is never shown wrongly."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from django_durable import InvalidOptionError, client, workflow
from django_durable.client import Filter
from django_durable.clock import DatabaseNow
from django_durable.engine import family
from django_durable.models import Execution, Status
from tests.models import rows
from tests.models.rows import AT, HOUR

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def ids(found):
    return {row.pk for row in found}


def failed(error, **values):
    return rows.closed(Status.FAILED, error_type=error, **values)


# -- conditions ----------------------------------------------------------------------------------------

# What is asked for, rows that answer, rows that do not.
CONDITIONS = {
    "status": ({"status": "sleeping"}, [{"status": "sleeping"}], [{}]),
    "several statuses": (
        {"status": ["sleeping", "waiting"]},
        [{"status": "sleeping"}, {"status": "waiting"}],
        [{}, {"status": "completed", "finished_at": AT}],
    ),
    "open": (
        {"status": "open"},
        [{}, {"status": "stuck", "stuck_reason": "poison"}],
        [{"status": "completed", "finished_at": AT}],
    ),
    "closed": (
        {"status": "closed"},
        [{"status": "terminated", "finished_at": AT}, {"status": "completed", "finished_at": AT}],
        [{}],
    ),
    "closed or stuck": (
        {"status": ("closed", "stuck")},
        [{"status": "stuck", "stuck_reason": "poison"}, {"status": "continued", "finished_at": AT}],
        [{}],
    ),
    "workflow": ({"workflow": "a"}, [{"workflow": "a"}], [{"workflow": "ab"}, {"workflow": "A"}]),
    "version": (
        {"workflow": "a", "version": 2},
        [{"workflow": "a", "version": 2}],
        [{"workflow": "a"}, {"workflow": "b", "version": 2}],
    ),
    "queue": ({"queue": "mail"}, [{"queue": "mail"}], [{}]),
    "key": ({"key": "order:1"}, [{"key": "order:1"}], [{"key": "order:11"}, {}]),
    "key_prefix": (
        {"key_prefix": "order_1%"},
        [{"key": "order_1%"}, {"key": "order_1%é"}],
        [{"key": "order_12"}, {"key": "orderx1%"}, {"key": "Order_1%"}, {"key": "my order_1%"}, {}],
    ),
    "id_prefix": (
        {"id_prefix": "0190-AB"},
        [{"id": UUID("0190ab00-0000-7000-8000-000000000000")}, {"id": UUID("0190abff-ffff-7fff-bfff-ffffffffffff")}],
        [{"id": UUID("0190ac00-0000-7000-8000-000000000000")}, {"id": UUID("0190aaff-ffff-7fff-bfff-ffffffffffff")}],
    ),
    "labels": (
        {"labels": {"tenant": "acme", "1.a:b": "x"}},
        [{"labels": {"tenant": "acme", "1.a:b": "x", "more": "y"}}],
        [
            {"labels": {"tenant": "acme"}},
            {"labels": {"tenant": "ACME", "1.a:b": "x"}},
            {"labels": {"1.a:b": "acme", "tenant": "x"}},
            {},
        ],
    ),
    "a label with a number for a name": ({"labels": {"7": "7"}}, [{"labels": {"7": "7"}}], [{"labels": {"a": "7"}}]),
    "no labels": ({"labels": {}}, [{}, {"labels": {"a": "b"}}], []),
    "subject": (
        {"subject": "shop.order:7"},
        [{"subject_type": "shop.order", "subject_id": "7"}],
        [{"subject_type": "shop.order", "subject_id": "77"}, {"subject_type": "shop.customer", "subject_id": "7"}, {}],
    ),
    "created": (
        {"created_after": AT, "created_before": AT + HOUR},
        [{"created_at": AT}, {"created_at": AT + HOUR / 2}],
        [{"created_at": AT - HOUR}, {"created_at": AT + HOUR}],
    ),
    "started": (
        {"started_after": AT, "started_before": AT + HOUR},
        [{"started_at": AT}],
        [{"started_at": AT + HOUR}, {}],
    ),
    "finished": (
        {"finished_after": AT, "finished_before": AT + HOUR},
        [{"status": "failed", "finished_at": AT}],
        [{"status": "failed", "finished_at": AT - HOUR}, {}],
    ),
    "error": (
        {"error": "shop.errors.Declined"},
        [{"error_type": "shop.errors.Declined"}],
        [{"error_type": "other.errors.Declined"}, {}],
    ),
    "error by its short name": (
        {"error": "Declined"},
        [{"error_type": "shop.errors.Declined"}],
        [{"error_type": "shop.errors.NotDeclined"}, {}],
    ),
    "has_error": ({"has_error": True}, [{"error_type": "a.B"}], [{}]),
    "has no error": ({"has_error": False}, [{}], [{"error_type": "a.B"}]),
    "waiting_for any signal": (
        {"waiting_for": "signal"},
        [{"waiting_for": "signal a"}, {"waiting_for": "timer; signal b"}],
        [{"waiting_for": "timer"}, {"waiting_for": "signal a", "status": "terminated", "finished_at": AT}],
    ),
    "waiting_for some signals": (
        {"waiting_for": "signal orders."},
        [{"waiting_for": "signal orders.approved"}],
        [{"waiting_for": "signal ordersXapproved"}],
    ),
    "waiting_for children": (
        {"waiting_for": "child"},
        [{"waiting_for": "child 1"}, {"waiting_for": "5 children of part"}],
        [{"waiting_for": "timer"}],
    ),
    "waiting_for a time": ({"waiting_for": "sleep"}, [{"waiting_for": "timer"}], [{"waiting_for": "child 1"}]),
    "stuck_reason": (
        {"stuck_reason": "poison"},
        [{"status": "stuck", "stuck_reason": "poison"}],
        [{"status": "stuck", "stuck_reason": "history_limit"}, {}],
    ),
    "what cannot be both": ({"status": "completed", "waiting_for": "sleep"}, [], [{"waiting_for": "timer"}]),
    "nothing": ({}, [{}, {"status": "completed", "finished_at": AT}], []),
    "all at once": (
        {"status": "open", "workflow": "a", "labels": {"t": "1"}, "created_after": AT},
        [{"workflow": "a", "labels": {"t": "1"}, "created_at": AT}],
        [{"workflow": "a", "labels": {"t": "1"}, "created_at": AT - HOUR}, {"workflow": "a", "created_at": AT}],
    ),
}


@pytest.mark.parametrize("asked", CONDITIONS)
def test_a_condition_finds_what_answers_to_it(asked):
    conditions, answering, others = CONDITIONS[asked]
    wanted = {rows.execution(**values).pk for values in answering}
    for values in others:
        rows.execution(**values)

    assert ids(client.find(**conditions)) == wanted
    assert ids(client.page(**conditions).rows) == wanted
    assert client.count(**conditions) == len(wanted)


def test_every_condition_is_tried():
    tried = {name for conditions, *_ in CONDITIONS.values() for name in conditions}
    assert set(Filter.__dataclass_fields__) - tried == {"category", "parent", "root"}  # below


def test_running_is_what_a_worker_has_now():
    running, waiting = rows.leased(due_at=datetime.now(UTC) + HOUR).execution, rows.execution(status="waiting")
    lost = rows.leased(due_at=datetime.now(UTC) - HOUR).execution
    for conditions, wanted in [
        ({"status": "running"}, {running.pk}),
        ({"status": ["running", "waiting"]}, {running.pk, waiting.pk}),
        ({"status": ["running", "pending"]}, {running.pk, lost.pk}),
    ]:
        assert ids(client.find(**conditions)) == wanted
        assert ids(client.page(**conditions).rows) == wanted
        assert len(client.page(**conditions).rows) == len(wanted)


def test_a_category_is_that_of_the_workflows_here():
    @workflow("find.mine", category="mine")
    def mine(ctx):
        pass

    @workflow("find.other")
    def other(ctx):
        pass

    wanted = mine.start()
    other.start()
    assert ids(client.find(category="mine")) == {wanted.pk}
    assert not client.find(category="nobodys").exists()


def test_children_and_all_below():
    root = rows.execution()
    children = [rows.execution(parent=root) for _ in range(3)]
    grandchildren = [rows.execution(parent=children[0]), rows.execution(parent=children[1])]
    rows.execution(parent=rows.execution())
    assert ids(client.find(parent=root)) == ids(children)
    assert ids(client.find(parent=str(children[0].pk))) == {grandchildren[0].pk}
    assert ids(client.find(root=root.pk)) == ids([*children, *grandchildren])
    assert not client.find(root=grandchildren[0]).exists()


def test_payloads_stay_in_the_table():
    rows.execution()
    deferred = {"input", "result", "error"}
    assert client.find().get().get_deferred_fields() == deferred
    assert client.page().rows[0].get_deferred_fields() == deferred


@pytest.mark.parametrize(
    ("conditions", "hint"),
    [
        ({"status": "nonsense"}, "open, closed, pending, running"),
        ({"status": []}, "one or more"),
        ({"status": ["failed", ""]}, "give one of"),
        ({"workflow": "a b"}, "letters, digits"),
        ({"version": 1}, "workflow="),
        ({"workflow": "a", "version": True}, "a number"),
        ({"category": ""}, "letters, digits"),
        ({"queue": 7}, "letters, digits"),
        ({"key": ""}, "printable"),
        ({"key_prefix": "a\n"}, "printable"),
        ({"id_prefix": "xyz"}, "first digits"),
        ({"id_prefix": "0" * 33}, "first digits"),
        ({"labels": "tenant=acme"}, "a dict"),
        ({"labels": {"tenant": 7}}, "printable"),
        ({"labels": {'a"b': "x"}}, "letters, digits"),
        ({"subject": "order"}, "app_label.model:pk"),
        ({"subject": Execution(pk=None)}, "saved model instance"),
        ({"parent": "no"}, "its id"),
        ({"root": 7}, "its id"),
        ({"created_after": AT.replace(tzinfo=None)}, "aware datetime"),
        ({"finished_before": "2026-01-01"}, "aware datetime"),
        ({"error": ""}, "printable"),
        ({"has_error": "yes"}, "True or False"),
        ({"waiting_for": ""}, "printable"),
        ({"stuck_reason": "tired"}, "poison"),
        ({"colour": "red"}, "give some of status, workflow"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(conditions, hint):
    for call in (client.find, client.page, client.count):
        with pytest.raises(InvalidOptionError, match=hint):
            call(**conditions)


def test_a_filter_and_conditions_are_not_mixed():
    with pytest.raises(InvalidOptionError, match="not both: status"):
        client.find(Filter(workflow="a"), status="open")
    wanted = rows.execution(workflow="a")
    rows.execution()
    assert ids(client.find(Filter(workflow="a"))) == {wanted.pk}


# -- filters as text -----------------------------------------------------------------------------------


def test_a_filter_is_read_from_text():
    found = Filter.from_text(
        {
            "status": "failed,stuck",
            "workflow": "a",
            "version": "3",
            "label": ["tenant=acme", "equation=a=b"],
            "created_after": "2026-01-01T00:00:00Z",
            "has_error": "yes",
            "id_prefix": "",
        }
    )
    assert found == Filter(
        status=["stuck", "failed"],
        workflow="a",
        version=3,
        labels={"tenant": "acme", "equation": "a=b"},
        created_after=datetime(2026, 1, 1, tzinfo=UTC),
        has_error=True,
    )
    assert Filter.from_text({}) == Filter()


@pytest.mark.parametrize(
    ("texts", "hint"),
    [
        ({"colour": "red"}, "no condition"),
        ({"workflow": ["a", "b"]}, "once"),
        ({"version": "two"}, "a number"),
        ({"version": "9" * 30}, "a number"),
        ({"label": "tenant"}, "NAME=VALUE"),
        ({"label": ["a=1", "a=2"]}, "cannot be"),
        ({"has_error": "maybe"}, "true, yes"),
        ({"created_after": "2026-01-01T00:00:00"}, "with its zone"),
        ({"created_after": "2026-13-01T00:00:00Z"}, "with its zone"),
        ({"created_after": "yesterday"}, "with its zone"),
        ({"status": "nonsense"}, "give one of"),
    ],
)
def test_text_that_says_nothing_is_refused(texts, hint):
    with pytest.raises(InvalidOptionError, match=hint):
        Filter.from_text(texts)


# -- pages ---------------------------------------------------------------------------------------------


def walk(size, **conditions):
    """All pages from the newest to the oldest, and what each of them was back on the way to the newest."""
    page = client.page(size=size, **conditions)
    assert page.previous is None
    pages = [page]
    while page.next:
        page = client.page(after=page.next, size=size, **conditions)
        pages.append(page)
        assert len(pages) <= Execution.objects.count(), "it goes round"
    back = [page]
    while page.previous:
        page = client.page(before=page.previous, size=size, **conditions)
        back.append(page)
        assert len(back) <= len(pages), "it goes round"
    assert [ids(one.rows) for one in reversed(back)] == [ids(one.rows) for one in pages]
    return [row for one in pages for row in one.rows]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("conditions", [{}, {"status": "open"}, {"workflow": "flow"}, {"status": "pending"}])
def test_the_pages_are_the_list_in_both_directions(size, conditions):
    for hours in (0, 1, 1, 1, 2, 3):
        rows.execution(created_at=AT + hours * HOUR)
    found = walk(size, **conditions)
    assert len(found) == len(ids(found)) == 6
    assert all(newer.created_at >= older.created_at for newer, older in pairwise(found))


def test_the_pages_of_what_the_database_has_dated_at_once():
    made = [rows.execution() for _ in range(7)]
    Execution.objects.update(created_at=DatabaseNow())
    found = walk(2)
    assert ids(found) == ids(made)
    assert len(found) == 7


def test_a_page_goes_on_where_the_last_one_ended_whatever_has_come_and_gone():
    old = [rows.execution(created_at=AT + number * HOUR) for number in range(6)]
    first = client.page(size=2)
    rows.execution(created_at=AT + DAY)
    Execution.objects.filter(pk__in=[row.pk for row in first.rows]).delete()
    second = client.page(after=first.next, size=2)
    assert [row.pk for row in second.rows] == [old[3].pk, old[2].pk]
    newer = client.page(before=second.previous, size=5)
    assert len(newer.rows) == 1
    assert newer.previous is None


def test_an_empty_list_has_one_empty_page():
    page = client.page()
    assert (page.rows, page.next, page.previous) == ([], None, None)


def test_a_page_is_two_statements(django_assert_num_queries):
    rows.leased()
    rows.closed()
    with django_assert_num_queries(2):
        assert {row.live_status(AT) for row in client.page().rows} == {"running", "completed"}


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "MjAyNi0wMS0wMVQwMDowMDowMCAw"])
def test_what_is_no_cursor_is_refused(cursor):
    for side in ("after", "before"):
        with pytest.raises(InvalidOptionError, match="no cursor"):
            client.page(**{side: cursor})


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"size": 0}, "1 to 500"), ({"size": 501}, "1 to 500"), ({"after": "a", "before": "b"}, "not both")],
)
def test_a_page_that_cannot_be_is_refused(options, hint):
    with pytest.raises(InvalidOptionError, match=hint):
        client.page(**options)


def test_a_count_is_capped():
    for _ in range(5):
        rows.execution()
    assert [client.count(at_most=number) for number in (1, 4, 5, 6)] == [1, 4, 5, 5]
    with pytest.raises(InvalidOptionError, match="1 or more"):
        client.count(at_most=0)


def test_a_count_counts_no_further_than_it_has_to(django_assert_num_queries):
    with django_assert_num_queries(1) as sent:
        client.count(at_most=10)
    assert "LIMIT 10" in sent.captured_queries[0]["sql"]


# -- families ------------------------------------------------------------------------------------------


def test_a_family_is_whom_an_execution_comes_from_and_who_comes_from_it():
    root = rows.execution()
    parent = rows.execution(parent=root)
    own = rows.execution(parent=parent)
    children = [rows.execution(parent=own, created_at=AT + number * HOUR) for number in range(5)]
    found = client.family(own, at_most=3)
    assert found.execution == own
    assert found.parents == (parent, root)
    assert found.children == tuple(children[:3])
    assert found.more_children == 2
    assert found.chain == ()
    assert client.family(children[0]).children == ()
    assert client.family(own).more_children == 0


def test_copies_know_their_original_and_it_knows_them():
    own = rows.closed()
    copies = [rows.execution(origin=own.pk, created_at=AT + number * HOUR) for number in range(3)]
    assert client.family(own, at_most=2).copies == tuple(copies[:2])
    assert client.family(copies[0]).copied_from == own
    assert client.family(own).copied_from is None
    own.delete()
    assert client.family(copies[0]).copied_from is None


def test_the_count_of_more_children_is_capped():
    own = rows.execution()
    for _ in range(5):
        rows.execution(parent=own)
    assert client.family(own, at_most=2).more_children == 2


def test_a_parent_that_was_deleted_ends_the_line():
    root = rows.execution()
    own = rows.execution(parent=rows.execution(parent=root))
    Execution.objects.filter(pk=root.pk).delete()
    assert len(client.family(own).parents) == 1


def test_a_chain_is_in_the_order_in_which_it_was_continued(durable):
    @workflow("find.chain")
    def chain(ctx, left):
        if left:
            ctx.continue_as_new(left - 1)

    first = chain.start(4)
    durable.run_until_idle()
    last = client.latest(first)
    found = client.family(first).chain
    assert (found[0].pk, found[-1].pk, len(found)) == (first.pk, last.pk, 5)
    assert client.family(found[2]).chain == found
    assert [row.pk for row in client.family(last, at_most=2).chain] == [row.pk for row in found[2:]]


def test_a_family_must_have_room():
    with pytest.raises(InvalidOptionError, match="1 or more"):
        client.family(rows.execution(), at_most=0)


def test_a_root_with_too_many_branches_is_refused(monkeypatch):
    monkeypatch.setattr(family, "MOST_PARENTS_BELOW", 2)
    root = rows.execution()
    for _ in range(2):
        rows.execution(parent=rows.execution(parent=root))
    with pytest.raises(InvalidOptionError, match="ask for parent="):
        client.find(root=root)
