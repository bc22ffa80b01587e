"""The admin's pages: they show every table, change nothing, hide payloads, and escape what is in the rows."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_durable import client as durable_client
from django_durable import clock, workflow
from django_durable.models import (
    Delivery,
    Execution,
    FanOut,
    FeedHead,
    OutboxEvent,
    SetAsideStep,
    Signal,
    Status,
    Step,
    StuckReason,
    Turn,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.models import rows
from tests.models.rows import AT

pytestmark = pytest.mark.django_db
SECRET = "the-secret-payload"
HIDDEN = "whsec_nobody"
EVIL = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"
STORED = f'[1, "{SECRET}"]'
LIST_QUERIES = 10
MODELS = sorted(apps.get_app_config("django_durable").get_models(), key=lambda model: model.__name__)
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
with_payload = pytest.mark.parametrize(
    ("model", "field"),
    [
        (Execution, "input"),
        (Execution, "result"),
        (Execution, "error"),
        (Step, "result"),
        (Step, "error"),
        (SetAsideStep, "result"),
        (SetAsideStep, "error"),
        (Signal, "payload"),
        (OutboxEvent, "payload"),
        (Delivery, "error"),
        (WebhookDelivery, "error"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)


def url(model, page, *args):
    return reverse(f"admin:django_durable_{model.__name__.lower()}_{page}", args=args)


@pytest.fixture
def admin_client(client):
    """A superuser's browser; pytest-django's own takes half a second to hash a password."""
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def filled():
    """A row in every table, by model; payloads hold the secret."""
    return fill(SECRET)


def fill(text):
    execution = rows.execution(
        workflow=text,
        key=text,
        queue=text,
        status=Status.STUCK,
        stuck_reason=StuckReason.POISON,
        input=f'[1, "{text}"]',
        result=f'[1, "{text}"]',
        error=f'[1, "{text}"]',
        error_type=text,
        waiting_for=text,
        cancel_reason=text,
        progress_message=text,
        labels={text: text},
        subject_id=text,
    )
    given = {"input": f'[1, "{text}"]', "excluded": {text: text}, "labels": {text: text}, "queue": text, "key": text}
    schedule = rows.schedule(name=text, workflow=text, cadence=text, timezone=text[:64], paused_reason=text, **given)
    tick = rows.tick(schedule, reason=text, execution=execution)
    timer = rows.leased(execution, queue=text, holder=text)
    step = rows.step(execution, name=text, target=text, result=f'[1, "{text}"]', error=f'[1, "{text}"]')
    aside = rows.set_aside(execution, name=text, target=text, result=f'[1, "{text}"]', error=f'[1, "{text}"]')
    consumed = {"consumed_by": text, "consumed_at": AT}
    signal = rows.signal(execution, name=text, payload=f'[1, "{text}"]', signal_id=text, **consumed)
    event = rows.event(execution, name=text, payload=f'[1, "{text}"]')
    delivery = rows.delivery(event, receiver=text, queue=text, error=f'[1, "{text}"]')
    entry = rows.audit(execution_id=execution.pk, kind=text, actor=text, reason=text, before={text: text})
    line = rows.log_line(execution, message=text)
    made = (execution, schedule, tick, timer, step, signal, event, delivery, entry, line, rows.fan_out())
    endpoint = rows.endpoint(url=text, kinds=[text], workflows=[text], secret=HIDDEN, previous_secret=HIDDEN)
    webhook = rows.webhook(endpoint, kind=text, body=text, error=f'[1, "{text}"]')
    head = FeedHead.objects.create(position=7)
    node = rows.node(name=text, host=text, source=text[:40], version=text[:40], queues=[text], workflows={text: [1]})
    limit = rows.limit_key(name=text, key=text)
    slot = rows.slot(limit=limit, execution=execution, fair=text)
    made = (*made, limit, slot, head, endpoint, webhook, rows.turn(), node, aside)
    return {type(row): row for row in made}


def staff(*permissions):
    user = User.objects.create_user(uuid4().hex, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def viewer(model, *more):
    return staff(f"view_{model.__name__.lower()}", *more)


# -- every page ----------------------------------------------------------------------------------------


def test_every_table_has_its_pages(filled):
    assert set(filled) == set(MODELS)


@each_model
def test_the_list_shows_the_rows(admin_client, filled, model):
    page = admin_client.get(url(model, "changelist"))
    assert page.status_code == 200
    assert list(page.context["cl"].result_list) == [filled[model]]


@each_model
def test_the_pages_of_a_row_render(admin_client, filled, model):
    for page in ("change", "history"):
        assert admin_client.get(url(model, page, filled[model].pk)).status_code == 200


@each_model
def test_an_empty_list_renders(admin_client, model):
    assert admin_client.get(url(model, "changelist")).status_code == 200


@each_model
def test_every_search_answers(admin_client, filled, model):
    for wanted in ("", "no id", str(uuid4())):
        assert admin_client.get(url(model, "changelist"), {"q": wanted}).status_code == 200


@each_model
def test_every_column_sorts(admin_client, filled, model):
    columns = len(admin_client.get(url(model, "changelist")).context["cl"].list_display)
    for number in range(1, columns + 1):
        assert admin_client.get(url(model, "changelist"), {"o": f"-{number}"}).status_code == 200


@pytest.mark.parametrize("named", ["id", "key", "beginning of the key"])
def test_an_execution_is_found_by_its_names(admin_client, named):
    wanted = rows.execution(key="order:7")
    rows.execution(key="other:8")
    text = {"id": str(wanted.pk), "key": "order:7", "beginning of the key": "order:"}[named]
    assert list(admin_client.get(url(Execution, "changelist"), {"q": text}).context["cl"].result_list) == [wanted]


def test_the_list_says_running_while_a_worker_has_it(admin_client):
    rows.leased(due_at=clock.now() + timedelta(hours=1))
    rows.leased(due_at=clock.now() - timedelta(hours=1))
    page = admin_client.get(url(Execution, "changelist")).content.decode()
    assert page.count('<td class="field-status_now">running</td>') == 1
    assert page.count('<td class="field-status_now">pending</td>') == 1


def test_an_execution_shows_its_history_in_order(admin_client):
    execution = rows.execution()
    for position in (2, 0, 1):
        rows.step(execution, position=position, name=f"at.{position}")
    page = admin_client.get(url(Execution, "change", execution.pk)).content.decode()
    assert sorted(range(3), key=lambda position: page.index(f"at.{position}")) == [0, 1, 2]


def test_what_the_engine_leaves_behind_can_be_looked_at(durable, admin_client):
    @workflow("flow")
    def flow(ctx):
        ctx.note("began")
        ctx.step("fail", lambda: 1 / 0)

    execution = flow.start()
    durable.run_until_idle()
    assert durable_client.get(execution).status == Status.FAILED
    page = admin_client.get(url(Execution, "change", execution.id)).content.decode()
    assert "ZeroDivisionError" in page


# -- nothing is changed --------------------------------------------------------------------------------


@each_model
def test_nobody_adds_or_deletes(admin_client, filled, model):
    pk = filled[model].pk
    for page in (url(model, "add"), url(model, "delete", pk)):
        assert admin_client.get(page).status_code == 403
        assert admin_client.post(page, {"post": "yes"}).status_code == 403
    assert list(model.objects.values_list("pk", flat=True)) == [pk]


@each_model
def test_nobody_changes(admin_client, filled, model):
    before = model.objects.values().get()
    assert admin_client.post(url(model, "change", filled[model].pk), {"_save": "1"}).status_code == 403
    assert model.objects.values().get() == before


@each_model
def test_no_page_offers_to_change_anything(admin_client, filled, model):
    for page in (url(model, "changelist"), url(model, "change", filled[model].pk)):
        html = admin_client.get(page).content.decode()
        assert 'name="_save"' not in html
        assert "deletelink" not in html
        assert "addlink" not in html.partition('id="content"')[2]
        assert 'name="action"' not in html


@each_model
def test_no_bulk_action_deletes(admin_client, filled, model):
    form = {"action": "delete_selected", "_selected_action": [str(filled[model].pk)], "post": "yes"}
    admin_client.post(url(model, "changelist"), form)
    assert model.objects.count() == 1


# -- who may see ---------------------------------------------------------------------------------------


@each_model
def test_staff_without_the_permission_sees_nothing(client, filled, model):
    client.force_login(staff(*(f"view_{other.__name__.lower()}" for other in MODELS if other is not model)))
    for page in (url(model, "changelist"), url(model, "change", filled[model].pk)):
        assert client.get(page).status_code == 403


@each_model
def test_staff_with_the_permission_sees_list_and_rows(client, filled, model):
    client.force_login(viewer(model))
    for page in (url(model, "changelist"), url(model, "change", filled[model].pk)):
        assert client.get(page).status_code == 200


@each_model
def test_the_public_is_sent_to_the_login(client, filled, model):
    for page in (url(model, "changelist"), url(model, "change", filled[model].pk)):
        assert client.get(page).url.startswith(reverse("admin:login"))


def test_an_execution_hides_its_history_from_those_who_may_not_see_steps(client, filled):
    client.force_login(viewer(Execution))
    page = url(Execution, "change", filled[Execution].pk)
    assert "steps-group" not in client.get(page).content.decode()
    client.force_login(viewer(Execution, "view_step"))
    assert "steps-group" in client.get(page).content.decode()


# -- payloads ------------------------------------------------------------------------------------------


def only_payload(model):
    """A row whose secret is in its payloads only."""
    if model is Execution:
        return rows.closed(input=STORED, result=STORED, error=STORED)
    if model is Step:
        return rows.step(result=STORED, error=STORED)
    if model is SetAsideStep:
        return rows.set_aside(result=STORED, error=STORED)
    if model is OutboxEvent:
        return rows.event(payload=STORED)
    if model is Delivery:
        return rows.delivery(error=STORED)
    if model is WebhookDelivery:
        return rows.webhook(error=STORED)
    return rows.signal(payload=STORED)


@with_payload
def test_payloads_need_a_permission_of_their_own(client, model, field):
    page = url(model, "change", only_payload(model).pk)
    client.force_login(viewer(model))
    hidden = client.get(page).content.decode()
    assert SECRET not in hidden
    assert f'field-{field}"' not in hidden
    client.force_login(viewer(model, "view_payload"))
    shown = client.get(page).content.decode()
    assert SECRET in shown
    assert f'field-{field}"' in shown


def test_the_input_of_a_schedule_needs_the_permission_too(client, filled):
    model = type(filled[Execution].ticks.get().schedule)
    page = url(model, "change", filled[model].pk)
    client.force_login(viewer(model))
    assert "field-input" not in client.get(page).content.decode()


@with_payload
def test_payloads_are_in_no_list(admin_client, model, field):
    only_payload(model)
    assert SECRET not in admin_client.get(url(model, "changelist")).content.decode()


@with_payload
def test_lists_leave_payloads_in_the_table(admin_client, model, field):
    only_payload(model)
    with CaptureQueriesContext(
        connection,
    ) as sent:
        admin_client.get(url(model, "changelist"))
    column = f".{connection.ops.quote_name(field)}"
    assert [query["sql"] for query in sent if model._meta.db_table in query["sql"] and column in query["sql"]] == []


@with_payload
def test_payloads_cannot_be_guessed_by_filtering(client, model, field):
    only_payload(model)
    client.force_login(viewer(model))
    for guess in (SECRET, "something else"):
        answer = client.get(url(model, "changelist"), {f"{field}__contains": guess})
        assert answer.status_code != 200


# -- hostile rows --------------------------------------------------------------------------------------


@each_model
def test_what_rows_hold_is_shown_escaped(admin_client, model):
    row = fill(EVIL)[model]
    for page in (url(model, "changelist"), url(model, "change", row.pk)):
        html = admin_client.get(page).content.decode()
        assert EVIL not in html
        assert ESCAPED in html or model in {FanOut, FeedHead, Turn}  # which hold no text of users


# -- cost ----------------------------------------------------------------------------------------------


def crowd(count):
    for _ in range(count):
        execution = rows.execution(key=uuid4().hex, parent=Execution.objects.first())
        rows.timer(execution)
        rows.step(execution)
        rows.signal(execution)
        rows.tick(execution=execution)
        rows.audit(execution_id=execution.pk)
        rows.log_line(execution)


def cost(admin_client, page):
    admin_client.get(page)  # content types are looked up once
    with CaptureQueriesContext(connection) as sent:
        assert admin_client.get(page).status_code == 200
    return len(sent)


def test_a_long_list_costs_as_many_queries_as_a_short_one_and_ends_after_fifty(admin_client):
    lists = {model.__name__: url(model, "changelist") for model in MODELS}
    crowd(2)
    few = {name: cost(admin_client, page) for name, page in lists.items()}
    crowd(49)
    assert {name: cost(admin_client, page) for name, page in lists.items()} == few
    assert max(few.values()) <= LIST_QUERIES
    assert len(admin_client.get(lists["Execution"]).context["cl"].result_list) == 50


def test_a_long_history_costs_as_many_queries_as_a_short_one(admin_client):
    execution = rows.timer().execution
    rows.step(execution)
    few = cost(admin_client, url(Execution, "change", execution.pk))
    for _ in range(50):
        rows.step(execution)
    assert cost(admin_client, url(Execution, "change", execution.pk)) == few <= LIST_QUERIES


def test_the_secrets_of_an_endpoint_are_shown_to_nobody(admin_client, filled):
    endpoint = filled[WebhookEndpoint]
    for page in (url(WebhookEndpoint, "changelist"), url(WebhookEndpoint, "change", endpoint.pk)):
        shown = admin_client.get(page)
        assert shown.status_code == 200
        assert HIDDEN not in shown.content.decode()
    for model, lookup in ((WebhookEndpoint, "secret"), (WebhookDelivery, "endpoint__previous_secret")):
        asked = admin_client.get(url(model, "changelist"), {f"{lookup}__startswith": "whsec"})
        assert asked.status_code == 400
