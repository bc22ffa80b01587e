"""``manage.py durable_describe``: what it prints, what it refuses. The demo shop is its example."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_durable import registry, workflow
from testproject.shop import workflows as shop
from tests.describe.shapes import text


@pytest.fixture(autouse=True)
def only_the_shop(monkeypatch):
    monkeypatch.setattr(registry, "_versions", {})
    registry.add(shop.fulfil)
    registry.add(shop.onboard)


def printed(*arguments):
    out = StringIO()
    call_command("durable_describe", *arguments, stdout=out)
    return out.getvalue()


ONBOARD = """
    customers.onboard version 1, testproject.shop.workflows.customers.onboard
        Greet a new customer, and give a voucher a little later.
        step send_welcome_mail
        sleep duration=timedelta(seconds=10)
        step give_voucher
        patched voucher-by-mail
        if ctx.patched('voucher-by-mail'):
            step send_voucher_mail
        return voucher
"""
FULFIL = """
    orders.fulfil version 1, testproject.shop.workflows.orders.fulfil
        Reserve, charge, have it approved, pack, ship. Returns how the order ended.
        try:
            step reserve_stock compensate=release_stock
            step charge compensate=refund
            step mark_paid
            helper await_approval(ctx, order_id, is_small=payment.amount < SMALL):
                state
                signalToken signal=orders.approved expires=patience
                step mail_shop_keeper
                race approval awaited={'decision': approved, 'withdrawal': withdrawn, 'time': patience}
                if event == 'withdrawal':
                    raise NotApproved('withdrawn by the customer')
                if event == 'time' and is_small:
                    return "nobody's objection"
                if event == 'time':
                    raise NotApproved('nobody approved it in time')
                if not decision.accepted:
                    raise NotApproved('rejected')
                return str(decision.by)
        except (OutOfStock, CardDeclined, NotApproved) as reason:
            state
            rollback
            step cancel_order
            return 'cancelled'
        state
        parallel packing:
            invoice:
                step write_invoice
            packing_list:
                step write_packing_list
            parcels:
                helper send_parcels(ctx, order_id):
                    step plan_parcels
                    for number, pieces in enumerate(contents, 1):
                        workflow child:parcels.send
                    for sent, parcel in enumerate(parcels, 1):
                        waitForExecution execution=parcel
                        state
        state
        emit emit:orders.shipped payload=Shipped(order_id)
        step mark_shipped
        return 'shipped'
"""


def test_all_workflows_are_shown_as_trees():
    assert printed() == text(ONBOARD) + "\n" + text(FULFIL)


def test_those_that_are_named_are_shown():
    assert printed("orders.fulfil") == text(FULFIL)


def test_all_versions_of_a_name_are_shown():
    workflow("customers.onboard", version=2)(shop.onboard.fn)
    heads = [line for line in printed("customers.onboard").splitlines() if line and line[0] != " "]
    assert [head.partition(",")[0] for head in heads] == ["customers.onboard version 1", "customers.onboard version 2"]


def test_json_is_a_list_of_shapes():
    shapes = json.loads(printed("customers.onboard", "--format", "json"))
    assert shapes == [shop.onboard.describe().as_dict()]
    assert [(node["kind"], node["id"]) for node in shapes[0]["nodes"]] == [
        ("step", "send_welcome_mail"),
        ("sleep", "sleep"),
        ("step", "give_voucher"),
        ("patched", "voucher-by-mail"),
        ("if", None),
        ("return", None),
    ]


def test_mermaid_is_one_chart_for_each_under_a_comment():
    charts = printed("--format", "mermaid")
    assert charts.splitlines()[:2] == [
        "%% customers.onboard version 1, testproject.shop.workflows.customers.onboard",
        "flowchart TD",
    ]
    assert charts.endswith(shop.fulfil.describe().mermaid())
    assert charts.count("flowchart TD") == 2


def test_an_unknown_name_is_refused_with_names_that_are_near():
    with pytest.raises(CommandError, match=r"No workflow 'order.fulfill' is registered. Did you mean orders.fulfil\?"):
        printed("order.fulfill")


def test_a_name_that_is_near_to_nothing_gets_all_names():
    with pytest.raises(CommandError, match=r"Did you mean customers.onboard, orders.fulfil\?"):
        printed("zzz")


def test_without_any_workflow_it_says_so(monkeypatch):
    monkeypatch.setattr(registry, "_versions", {})
    assert printed() == "no workflow is registered\n"
    with pytest.raises(CommandError, match=r"No workflow 'zzz' is registered\. None is\."):
        printed("zzz")


def test_a_workflow_without_text_is_an_error_that_says_so():
    namespace = {}
    exec("def flow(ctx): ctx.sleep(1)", namespace)
    workflow("typed")(namespace["flow"])
    with pytest.raises(CommandError, match="cannot be read"):
        printed("typed")


def test_an_unknown_format_is_refused():
    with pytest.raises(CommandError, match="invalid choice: 'svg'"):
        printed("--format", "svg")
