"""collectors.identity: who called, and which call it was."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.identity import call_id
from tests.collectors.reading import call_of

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@given(st.uuids(), st.booleans(), st.sampled_from(["{}", "{{{}}}", "({})", " {} "]), st.booleans())
def test_guid_is_one_identity_however_it_is_written(guid: UUID, upper: bool, frame: str, hyphens: bool) -> None:
    written = frame.format(str(guid) if hyphens else guid.hex)
    assert call_of(request_id=written.upper() if upper else written).request_id == str(guid)


@pytest.mark.parametrize(
    "other", ["req_1", "REQ_1", GUID + "0", GUID[:-1], "chatcmpl-" + GUID, GUID.replace("0f8", "0g8")]
)
def test_other_identities_stay_as_they_are(other: str) -> None:
    assert call_of(request_id=other).request_id == other


@given(st.text(max_size=60))
def test_identity_of_an_identity_is_itself(text: str) -> None:
    assert call_id(call_id(text)) == call_id(text)


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_app_is_the_first_of_entra_app_subscription_and_product(empty: str | None) -> None:
    given_all = {"app_id": "entra", "subscription_id": "sub", "product_id": "prod"}
    expected = [("entra", "entra_app"), ("sub", "subscription"), ("prod", "product"), ("unattributed", "none")]
    for left_out, (app, source) in enumerate(expected):
        fields = {name: empty if n < left_out else value for n, (name, value) in enumerate(given_all.items())}
        call = call_of(**fields)
        assert (call.app, call.app_source) == (app, source)


@pytest.mark.parametrize("nobody", ["master", "Portal-Admin", "NA", "NA-HEADER", " master "])
def test_what_stands_for_nobody_is_no_app(nobody: str) -> None:
    call = call_of(app_id=None, product_id=nobody, subscription_id=nobody)
    assert (call.app, call.subscription, call.product) == ("unattributed", None, None)
    assert call_of(app_id=nobody, subscription_id=nobody, product_id="gold").app == "gold"
    assert call_of(app_id="Master").app == "Master"


def test_absent_members_are_as_null() -> None:
    assert call_of(app_id=None, product_id=None).app == "unattributed"


def test_user_and_names_never_decide_who_pays() -> None:
    call = call_of(app_id=None, product_id=None, user_id="u", subscription_name="n", api_id="a", client_ip="10.0.0.1")
    assert (call.app, call.app_source) == ("unattributed", "none")


@pytest.mark.parametrize("text", ["a/b", "a\\b", "a#b", "a?b", "a%b", "a'b\"c", "a b", "a|b", "é日本🚀", "x" * 480])
@pytest.mark.parametrize("field", ["app_id", "subscription_id", "product_id"])
def test_apps_of_any_letters_survive(field: str, text: str) -> None:
    assert call_of(**({"app_id": None, "product_id": None} | {field: text})).app == text
