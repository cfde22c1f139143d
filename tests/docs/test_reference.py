"""The reference says what the code does: pages that are made are up to date, tables made by hand are complete."""

import re

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from scripts.make_reference import PAGES, REFERENCE

from seatkeeper.protocol.problems import PROBLEMS
from seatkeeper_server.apps.cloud import build
from seatkeeper_server.http.site import connection, history, license, seats
from seatkeeper_server.http.site import entitlements as lent
from seatkeeper_server.http.vendor import account, entitlements, exchange, groups, realms, sites, usage
from seatkeeper_server.http.vendor import clients as api_clients
from seatkeeper_server.settings import Settings
from tests.docs.pages import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_made_page_is_up_to_date(name: str) -> None:
    """The page is what `python scripts/make_reference.py` would write now."""
    assert (REFERENCE / name).read_text() == PAGES[name]()


def test_the_api_table_has_every_route(tmp_path) -> None:
    """Each method and path that a cloud server answers to is in the table, and nothing else is."""
    table = set(re.findall(r"^\| ([A-Z]+) `(/[^`]*)` \|", (REFERENCE / "licensing-api.md").read_text(), re.MULTILINE))
    with build(Settings(data=tmp_path / "data")) as cloud:
        served = set(cloud.app.routes)

    assert table == {(method, path) for method, path in served if method != "HEAD"}


@pytest.mark.parametrize(
    ("part", "routers"),
    [
        ("## A token", [realms.router]),
        (
            "## Management API",
            [
                account.router,
                api_clients.router,
                entitlements.router,
                exchange.router,
                groups.router,
                sites.router,
                usage.router,
            ],
        ),
        ("## LLS API", [connection.router, history.router, license.router, lent.router, seats.router]),
    ],
)
def test_the_tables_of_what_is_called_seldom_have_every_route(part: str, routers: list[APIRouter]) -> None:
    """Each method and path is in its table, and nothing else is."""
    page = (REFERENCE / "management-api.md").read_text().partition(part)[2].partition("\n## ")[0]
    table = re.findall(r"^\| ([A-Z]+) `(/[^`]*)` \|", page, re.MULTILINE)
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]

    assert sorted(table) == sorted((method, route.path) for route in routes for method in route.methods or ())


@pytest.mark.parametrize("code", PROBLEMS)
def test_codes_in_prose_exist(code: str) -> None:
    """A problem code has a row of its own in the page of codes."""
    assert f"| `{code}` | {PROBLEMS[code].status} |" in (REFERENCE / "problems.md").read_text()


def test_settings_of_applications_are_complete() -> None:
    """Each variable that `seat --help` names is on the page of the application's settings."""
    named = set(re.findall(r"SEATKEEPER_[A-Z_]+", (REFERENCE / "commands.md").read_text().split("## seat (")[1]))
    page = (REFERENCE / "application-settings.md").read_text()

    assert {name for name in named if f"`{name}`" not in page} == set()


def test_words_of_the_glossary_stand_once() -> None:
    """One word, one meaning: no word has two rows."""
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    words = [word.strip() for row in rows if row.strip() not in {"word", "---"} for word in row.split(",")]

    assert len(words) == len(set(words))
