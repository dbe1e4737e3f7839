"""GET /api/dashboard and its files: what is served, and how."""

from pathlib import Path

import pytest

from api.dashboard import FOLDER, files
from tests.api.asked import ask, ask_one

ROOT = Path(__file__).parents[2]
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


async def test_the_page_runs_nothing_but_its_own_scripts() -> None:
    reply = await ask("dashboard")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(rule.split(" ", 1) for rule in reply.headers["Content-Security-Policy"].split("; "))
    assert policy == POLICY
    assert (reply.headers["X-Content-Type-Options"], reply.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
    assert not [word for word in ("<style", "style=", "onclick", "https:", "//") if word in reply.text]


@pytest.mark.parametrize("query", ["", "code=abc", "anything=at-all"])
async def test_it_needs_no_settings_no_key_and_heeds_no_parameter(no_settings: pytest.MonkeyPatch, query: str) -> None:
    assert (await ask("dashboard", query)).status == 200


async def test_what_the_page_names_is_served_and_kept_until_it_changes() -> None:
    for name, kind in (("app.js", "text/javascript"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")):
        reply = await ask_one("dashboard_file", "dashboard", "file", name)
        assert (reply.status, reply.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert f"dashboard/{name}" in (await ask("dashboard")).text
        again = await ask_one(
            "dashboard_file", "dashboard", "file", name, headers={"If-None-Match": reply.headers["ETag"]}
        )
        assert (again.status, again.text, again.headers["ETag"]) == (304, "", reply.headers["ETag"])
        other = await ask_one("dashboard_file", "dashboard", "file", name, headers={"If-None-Match": '"other"'})
        assert (other.status, other.text) == (200, reply.text)


@pytest.mark.parametrize(
    "name", ["../function_app.py", "local.settings.json", "vendor/chart.umd.min.js", "", "app.js.map"]
)
async def test_nothing_else_is_served(name: str) -> None:
    reply = await ask_one("dashboard_file", "dashboard", "file", name)
    assert (reply.status, reply.error["code"], reply.error["parameter"]) == (404, "not_found", "file")


def test_no_two_files_have_one_name() -> None:
    served = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.name for path in served} == set(files())
    assert len(served) == len(files())


@pytest.mark.parametrize(
    ("vendored", "packaged"),
    [("chart.umd.min.js", "dist/chart.umd.min.js"), ("chart.js.LICENSE.txt", "LICENSE.md")],
)
def test_the_chart_library_is_that_of_its_package(vendored: str, packaged: str) -> None:
    package = ROOT / "node_modules" / "chart.js" / packaged
    assert (FOLDER / "vendor" / vendored).read_bytes() == package.read_bytes()


def test_no_module_is_too_long_to_read() -> None:
    assert not [path.name for path in FOLDER.glob("*") if path.is_file() and len(path.read_text().splitlines()) > 300]
