"""Every Python block of README.md and of docs/ runs, in order, one namespace per page, under the test kit.

The tutorial's blocks are files of a project; ``test_tutorial`` runs those.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from django_durable.definitions import registry
from django_durable.models import Execution
from django_durable.testing import DurableKit
from tests.docs import preludes
from tests.docs.blocks import PAGES, Block, blocks_of

# A block that is not run needs a reason, and few are good ones.
MOST_SKIPPED_PER_PAGE = 1


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.language == "python"]


RUNNABLE = [page for page in PAGES if page.name != "tutorial.md" and python_blocks(page)]


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A real module for the page, because dataclasses and the codec ask for one; and no other workflows."""
    monkeypatch.setattr(registry, "_versions", {})
    name = f"docs_{request.param.stem}"
    made = sys.modules[name] = ModuleType(name)
    yield made
    del sys.modules[name]


@pytest.mark.parametrize(("page", "module"), [(page, page) for page in RUNNABLE], indirect=["module"])
def test_page_runs(page: Path, module: ModuleType, durable: DurableKit) -> None:
    namespace = vars(module)
    namespace.update(preludes.names_for(page.stem, durable))
    for block in python_blocks(page):
        if not block.skipped_because:
            # Empty lines before it, so that a traceback shows the line of the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
    run_tests_of(namespace, durable)
    durable.run_until_idle()
    assert not Execution.objects.stuck().exists()


def run_tests_of(namespace: dict[str, Any], durable: DurableKit) -> None:
    """Run the test functions that the page shows, in its own kit."""
    for name, value in list(namespace.items()):
        if name.startswith("test_") and inspect.isfunction(value):
            assert list(inspect.signature(value).parameters) == ["durable"], name
            value(durable)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_few_blocks_are_skipped(page: Path) -> None:
    skipped = [block for block in python_blocks(page) if block.skipped_because]
    assert len(skipped) <= MOST_SKIPPED_PER_PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{target}#{anchor}"
