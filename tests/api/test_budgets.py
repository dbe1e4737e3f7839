"""/api/budgets: entering, reading and deleting them, and who sees what."""

from datetime import timedelta
from typing import Any

import pytest

import budgets.status
import services
from budgets.evaluate import evaluate
from ledger.versions import Versions
from models.registry import Alias, AppEntry
from tests.api.asked import Reply, ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import fill
from tests.support.events import usage_event
from tests.support.faulty import FaultyStore, never
from tests.support.faulty import at as fault_at
from tests.support.ledger import no_wait
from tests.support.principals import SIGN_IN, signed_in

GOOD: dict[str, Any] = {"app": "search", "period": "month", "unit": "USD", "limit": "2500.50"}
HOOK = "https://hooks.example.com/services/T0/secret"
SHOWN = {
    **GOOD,
    "limit": "2500.5",
    "cost_center": None,
    "model": None,
    "tz": "UTC",
    "thresholds": [50, 80, 100],
    "webhook": None,
    "format": "cloudevents",
}


async def budget(name: str, method: str = "GET", body: object = None, query: str = "", **headers: str) -> Reply:
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return await ask_one("budget", "budgets", "id", name, query, method=method, body=body, headers=sent)


class TestEntering:
    async def test_what_is_entered_is_shown_with_all_its_members_and_can_be_sent_back(
        self, configure: Configure
    ) -> None:
        await configure()
        made = await budget("search-month", "PUT", GOOD)
        assert (made.status, made.headers["ETag"]) == (201, '"1"')
        entered = made.json
        warnings = entered.pop("warnings")
        assert [each["parameter"] for each in warnings] == ["app"]
        assert entered == {"id": "search-month", "version": 1, "edited_at": entered["edited_at"], **SHOWN}
        read = await budget("search-month")
        assert (read.status, read.headers["ETag"]) == (200, '"1"')
        assert read.json == {**entered, "status": None, "history": [entered]}
        assert (await ask("budgets")).json == {"budgets": [{**entered, "status": None}], "next_cursor": None}
        again = await budget("search-month", "PUT", SHOWN, if_match='"7"')
        assert (again.status, again.json) == (200, {**entered, "warnings": warnings})

    async def test_an_editor_who_read_an_old_version_overwrites_nothing(self, configure: Configure) -> None:
        await configure()
        assert (await budget("a", "PUT", GOOD, if_match="*")).error["parameter"] == "If-Match"
        await budget("a", "PUT", GOOD, if_none_match="*")
        assert (await budget("a", "PUT", GOOD | {"limit": 7}, if_none_match="*")).status == 412
        second = await budget("a", "PUT", GOOD | {"limit": 7}, if_match='"1"')
        assert (second.status, second.headers["ETag"], second.json["limit"]) == (200, '"2"', "7")
        for method in ("PUT", "DELETE"):
            refused = await budget("a", method, GOOD | {"limit": 8}, if_match='"1"')
            assert (refused.status, refused.error["code"]) == (412, "precondition_failed")
        assert (await budget("a")).json["limit"] == "7"

    async def test_one_that_is_deleted_is_gone_and_its_numbers_go_on(self, configure: Configure) -> None:
        await configure()
        await budget("a", "PUT", GOOD)
        gone = await budget("a", "DELETE", if_match='"1"')
        assert (gone.status, gone.json["version"], gone.json["limit"]) == (200, 1, "2500.5")
        for method in ("GET", "DELETE"):
            assert ((reply := await budget("a", method)).status, reply.error["code"]) == (404, "not_found")
        assert (await ask("budgets")).json == {"budgets": [], "next_cursor": None}
        assert (await budget("a", "PUT", GOOD, if_match="*")).status == 412
        anew = await budget("a", "PUT", GOOD, if_none_match="*")
        assert (anew.status, anew.json["version"]) == (201, 3)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"period": "week"}, "period"),
            ({"period": None}, "period"),
            ({"unit": "EUR"}, "unit"),
            ({"limit": 0}, "limit"),
            ({"limit": -1}, "limit"),
            ({"limit": 2.5}, "limit"),
            ({"limit": "1e3"}, "limit"),
            ({"limit": True}, "limit"),
            ({"unit": "tokens", "limit": "2.5"}, "limit"),
            ({"limit": 10**16}, "limit"),
            ({"thresholds": []}, "thresholds"),
            ({"thresholds": [0]}, "thresholds.0"),
            ({"thresholds": [50, 1001]}, "thresholds.1"),
            ({"thresholds": [50, 50]}, "thresholds"),
            ({"thresholds": ["50"]}, "thresholds.0"),
            ({"thresholds": list(range(1, 12))}, "thresholds"),
            ({"thresholds": 50}, "thresholds"),
            ({"tz": "Mars/Olympus"}, "tz"),
            ({"tz": "Factory"}, "tz"),
            ({"tz": "Etc/GMT 5"}, "tz"),
            ({"app": "a\x00b"}, "app"),
            ({"app": None, "model": "a\x7fb"}, "model"),
            ({"webhook": "https://a..example.com/"}, "webhook"),
            ({"webhook": f"https://{'x' * 64}.example.com/"}, "webhook"),
            ({"cost_center": "4711"}, "cost_center"),
            ({"app": ""}, "app"),
            ({"app": "é" * 200}, "app"),
            ({"model": 4}, "model"),
            ({"format": "email"}, "format"),
            ({"webhook": "http://example.com/hook"}, "webhook"),
            ({"webhook": "https://ann:secret@example.com/hook"}, "webhook"),
            ({"webhook": "https:///hook"}, "webhook"),
            ({"webhook": "https://127.0.0.1/hook"}, "webhook"),
            ({"webhook": "https://example.com/" + "x" * 2048}, "webhook"),
            ({"webhook": "ftp://example.com"}, "webhook"),
            ({"colour": "red"}, "colour"),
        ],
    )
    async def test_a_mistake_is_named_and_nothing_is_kept(
        self, configure: Configure, change: dict[str, Any], field: str
    ) -> None:
        await configure()
        reply = await budget("a", "PUT", GOOD | change)
        assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_body", field)
        assert "secret" not in reply.text
        assert (await budget("a")).status == 404

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b" " * 70_000])
    async def test_a_body_that_is_no_object_is_refused(self, configure: Configure, body: bytes) -> None:
        await configure()
        assert (await budget("a", "PUT", body)).status in (400, 413)

    async def test_a_member_that_comes_twice_is_refused(self, configure: Configure) -> None:
        await configure()
        once = b'{"app": "search", "period": "month", "unit": "USD", "limit": 1, '
        for rest, member in ((b'"limit": 2}', "limit"), (b'"thresholds": [50], "\\u0061pp": "a"}', "app")):
            reply = await budget("a", "PUT", once + rest)
            assert (reply.status, reply.error["code"], reply.error["parameter"]) == (400, "invalid_body", member)
        assert (await budget("a")).status == 404

    @pytest.mark.parametrize("name", ["status", "Status", "a b", "a/b", "é", "x" * 65])
    async def test_an_id_is_plain_and_no_endpoints_name(self, configure: Configure, name: str) -> None:
        await configure()
        for method in ("GET", "PUT", "DELETE"):
            reply = await budget(name, method, GOOD)
            assert (reply.status, reply.error["parameter"]) == (400, "id")

    async def test_private_webhooks_are_the_operators_choice(self, configure: Configure) -> None:
        await configure(ALERT_WEBHOOK_ALLOW_PRIVATE="1")
        for url in ("http://127.0.0.1:8080/hook", "https://10.0.0.1/hook"):
            assert (await budget("a", "PUT", GOOD | {"webhook": url})).json["webhook"] == url


class TestSeeing:
    async def test_a_webhook_is_shown_to_those_only_who_may_edit_it(self, configure: Configure) -> None:
        await configure(**SIGN_IN)
        admin = signed_in("Usage.Admin")
        await ask_one("budget", "budgets", "id", "a", method="PUT", body=GOOD | {"webhook": HOOK}, headers=admin)
        for headers in (admin, signed_in("Usage.Read.All"), signed_in(app="search")):
            one = await ask_one("budget", "budgets", "id", "a", headers=headers)
            every = await ask("budgets", headers=headers)
            for shown in (one.json, *one.json["history"], *every.json["budgets"]):
                assert shown["webhook"] == (HOOK if headers is admin else None)
            assert ("secret" in one.text + every.text) == (headers is admin)

    async def test_others_see_the_budgets_of_their_own_apps_only(self, configure: Configure) -> None:
        await configure(**SIGN_IN)
        admin, own = signed_in("Usage.Admin"), signed_in(app="search")
        scopes = {"own": "search", "other": "shop", "everything": None}
        for name, app in scopes.items():
            body = GOOD | {"app": app, "thresholds": [1]}
            await ask_one("budget", "budgets", "id", name, method="PUT", body=body, headers=admin)
        center = GOOD | {"app": None, "cost_center": "4711"}
        await ask_one("budget", "budgets", "id", "center", method="PUT", body=center, headers=admin)
        assert [each["id"] for each in (await ask("budgets", headers=own)).json["budgets"]] == ["own"]
        for name in ("other", "everything", "center", "nothing"):
            assert (await ask_one("budget", "budgets", "id", name, headers=own)).status == 404
        # and of a budget that was another's before, not that version
        moved = GOOD | {"app": "search"}
        await ask_one("budget", "budgets", "id", "other", method="PUT", body=moved, headers=admin)
        shown = (await ask_one("budget", "budgets", "id", "other", headers=own)).json
        assert [each["version"] for each in shown["history"]] == [2]


async def test_a_name_that_nobody_has_seen_is_taken_with_a_warning(configure: Configure) -> None:
    found = await configure()
    now = services.now()
    await fill(
        found,
        [
            (usage_event(app_id="search", timestamp=now.isoformat(), response_model="gpt-4o", deployment="chat"), "0"),
            (usage_event(app_id="old", timestamp=(now - timedelta(days=400)).isoformat()), "0"),
        ],
    )
    await found.apps.put("shop", AppEntry(cost_center="4711").columns(), None)
    await found.models.put("chat-2", Alias(model="own-model").columns(), None)

    async def warned(**members: str) -> list[tuple[str, str, bool]]:
        body = {"period": "day", "unit": "tokens", "limit": 1, **members}
        reply = await budget("a", "PUT", body)
        assert reply.status in (200, 201)
        told = reply.json["warnings"]
        return [(each["code"], each["parameter"], "did you mean" in each["message"]) for each in told]

    for seen in ({}, {"app": "search"}, {"app": "shop"}, {"cost_center": "4711"}, {"app": "search", "model": "gpt-4o"}):
        assert await warned(**seen) == []
    assert await warned(model="own-model") == []
    assert await warned(app="old", model="gpt-4") == [("never_seen", "app", False), ("never_seen", "model", True)]
    assert await warned(app="serch") == [("never_seen", "app", True)]
    assert await warned(cost_center="nobody's") == [("never_seen", "cost_center", False)]
    assert "warnings" not in (await budget("a")).json
    assert "warnings" not in (await budget("a", "DELETE")).json


async def test_who_makes_a_budget_is_told_so_whoever_else_edits_it_meanwhile(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there when it is written counts, not what was there when the request came."""
    found = await configure()
    whole = found.budgets.all
    await budget("a", "PUT", GOOD)

    async def then_deleted() -> Any:
        listed = await whole()
        await budget("a", "DELETE")
        return listed

    async def then_entered() -> Any:
        listed = await whole()
        await found.budgets.edit("a", lambda _: {**SHOWN, "limit": "7"}, services.now())
        return listed

    for meanwhile, status in ((then_deleted, 201), (then_entered, 200)):
        with monkeypatch.context() as patch:
            patch.setattr(found.budgets, "all", meanwhile)
            assert (await budget("a", "PUT", GOOD)).status == status
        await budget("a", "DELETE")


async def test_who_makes_a_budget_is_told_so_if_the_answer_of_the_tables_was_lost(configure: Configure) -> None:
    found = await configure()
    store = found.budgets._store
    found.budgets = Versions(FaultyStore(store, never, fault_at(3)), "budgets", no_wait)
    made = await budget("a", "PUT", GOOD)
    assert (made.status, made.json["version"]) == (201, 1)


class TestPages:
    async def test_they_come_in_pages_that_leave_out_none(self, configure: Configure) -> None:
        found = await configure()
        ids = ["Z", "a", "a-1", "a.b", "a_1", "a_b", "b", "c", "d", "e"]
        for name in (*ids, "gone"):
            await budget(name, "PUT", GOOD)
        await budget("gone", "DELETE")
        await evaluate(found)
        whole = (await ask("budgets")).json
        assert (whole["next_cursor"], sorted(each["id"] for each in whole["budgets"])) == (None, ids)
        assert all(each["status"] for each in whole["budgets"])
        for limit in (1, 3, 5, 10):
            read, pages, query = [], 0, f"limit={limit}"
            while query:
                answer = await ask("budgets", query)
                reply = answer.json
                assert answer.headers.get("X-Next-Cursor") == reply["next_cursor"]
                read += reply["budgets"]
                pages += 1
                assert len(reply["budgets"]) <= limit
                query = reply["next_cursor"] and f"limit={limit}&cursor={reply['next_cursor']}"
            assert (read, pages) == (whole["budgets"], -(-len(ids) // limit))

    async def test_what_is_edited_between_the_pages_moves_no_other(self, configure: Configure) -> None:
        await configure()
        for name in "acde":
            await budget(name, "PUT", GOOD)
        first = (await ask("budgets", "limit=2")).json
        await budget("b", "PUT", GOOD)
        await budget("c", "DELETE")
        second = (await ask("budgets", f"limit=2&cursor={first['next_cursor']}")).json
        assert [each["id"] for each in first["budgets"] + second["budgets"]] == ["a", "c", "d", "e"]
        assert second["next_cursor"] is None

    async def test_pages_are_of_what_the_caller_may_see_and_its_own(self, configure: Configure) -> None:
        await configure(**SIGN_IN)
        admin, own = signed_in("Usage.Admin"), signed_in(app="search")
        for number in range(6):
            body = GOOD | {"app": "search" if number % 2 else "shop"}
            await ask_one("budget", "budgets", "id", f"b{number}", method="PUT", body=body, headers=admin)
        first = (await ask("budgets", "limit=2", headers=own)).json
        assert [each["id"] for each in first["budgets"]] == ["b1", "b3"]
        rest = await ask("budgets", f"cursor={first['next_cursor']}", headers=own)
        assert ([each["id"] for each in rest.json["budgets"]], rest.json["next_cursor"]) == (["b5"], None)
        taken = await ask("budgets", f"cursor={first['next_cursor']}", headers=admin)
        assert (taken.status, taken.error["code"]) == (400, "invalid_cursor")

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=x", "app=a"])
    async def test_what_is_no_page_is_refused(self, configure: Configure, query: str) -> None:
        await configure()
        reply = await ask("budgets", query)
        assert (reply.status, reply.error["parameter"]) == (400, query.partition("=")[0])

    async def test_one_that_cannot_be_read_hides_no_other(self, configure: Configure) -> None:
        """As a later version of this app may have written: it is shown as it is."""
        found = await configure(**SIGN_IN)
        admin, own = signed_in("Usage.Admin"), signed_in(app="search")
        await found.budgets.edit("a", lambda _: {**GOOD, "period": "week"}, services.now())
        await ask_one("budget", "budgets", "id", "b", method="PUT", body=GOOD, headers=admin)
        for headers in (admin, own):
            listed = (await ask("budgets", headers=headers)).json["budgets"]
            assert [(each["id"], each["period"]) for each in listed] == [("a", "week"), ("b", "month")]
        assert (await ask_one("budget", "budgets", "id", "a", headers=admin)).json["period"] == "week"
        mended = await ask_one("budget", "budgets", "id", "a", method="PUT", body=GOOD, headers=admin)
        assert (mended.status, mended.json["version"]) == (200, 2)


class TestStatus:
    async def test_an_app_is_asked_for(self, configure: Configure) -> None:
        await configure()
        for query in ("", "app=", "app=a&app=b", "apps=a"):
            reply = await ask("budget_status", query)
            assert (reply.status, reply.error["parameter"]) == (400, "apps" if query == "apps=a" else "app")

    async def test_without_a_run_nothing_is_known_and_without_budgets_there_is_none(self, configure: Configure) -> None:
        found = await configure()
        first = (await ask("budget_status", "app=search")).json
        assert (first["state"], first["as_of"], first["age_seconds"]) == ("no_budget", None, None)
        await evaluate(found)
        budgets.status._everything.clear()
        second = (await ask("budget_status", "app=search")).json
        assert (second["state"], second["budgets"]) == ("no_budget", [])
        assert 0 <= second["age_seconds"] < 60
