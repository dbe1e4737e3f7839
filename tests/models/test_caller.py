"""models.caller: what is read of a principal, and that all else is refused as such."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.caller import ADMIN, KEY_HOLDER, READ_ALL, WRITE, Caller, read_principal
from tests.support.principals import HEADER, ROLE, encoded

APP = "0A9f3c2e-0000-4000-8000-00000000000a"
CLAIMS = "http://schemas.microsoft.com/identity/claims/"


def read(*claims: tuple[str, str], **members: Any) -> Caller:
    told = [{"typ": name, "val": value} for name, value in claims]
    return read_principal(encoded({"auth_typ": "aad", "claims": told, **members})[HEADER])


@pytest.mark.parametrize(
    ("claim", "role_typ"),
    [("roles", None), ("roles", ""), ("roles", ROLE), (ROLE, ROLE), (ROLE, None), ("my-roles", "my-roles")],
)
def test_roles_stand_under_the_principals_own_name_for_them_or_the_tokens(claim: str, role_typ: str | None) -> None:
    caller = read((claim, READ_ALL), (claim, "Other.Role"), role_typ=role_typ)
    assert caller.roles == {READ_ALL, "Other.Role"}
    assert caller.sees_all


@pytest.mark.parametrize("claim", ["role", "name", "my-roles", "Roles", "scp", f"{CLAIMS}scope"])
def test_other_claims_give_no_role(claim: str) -> None:
    assert not read((claim, ADMIN)).roles


@pytest.mark.parametrize("role", ["usage.admin", "Usage.Admin ,x", "Usage.Read.All Usage.Admin", "Usage.Write", ""])
def test_only_the_very_roles_see_all(role: str) -> None:
    assert not read(("roles", role)).sees_all


@pytest.mark.parametrize("claim", ["appid", "azp"])
def test_an_application_is_an_app_as_the_collector_names_it(claim: str) -> None:
    caller = read((claim, APP), ("oid", "0B" + APP[2:]))
    assert caller.apps == {APP}
    assert caller.ids == {APP.lower(), ("0b" + APP[2:]).lower()}


@pytest.mark.parametrize("scope", ["scp", f"{CLAIMS}scope"])
def test_an_application_that_acts_for_a_user_does_not_lend_its_numbers(scope: str) -> None:
    caller = read(("azp", APP), (scope, "user_impersonation"), ("oid", "u"))
    assert caller == Caller(ids=frozenset({"u"}), name="u")


@pytest.mark.parametrize(
    "claim",
    ["oid", f"{CLAIMS}objectidentifier", "groups", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"],
)
def test_objects_and_groups_can_be_granted_apps(claim: str) -> None:
    assert read((claim, "A"), (claim, "b")) == Caller(ids=frozenset({"a", "b"}), name="a,b")


def test_who_asks_is_the_object_else_the_application_whatever_its_groups_are() -> None:
    names = [read(*claims, ("groups", "g")).name for claims in ((("oid", "O"), ("azp", APP)), (("azp", APP),), ())]
    assert names == ["o", APP.lower(), "g"]


@pytest.mark.parametrize("claim", ["name", "preferred_username", "email", "upn", "sub", "unique_name"])
def test_names_that_can_pass_to_somebody_else_count_for_nothing(claim: str) -> None:
    assert read((claim, APP), ("appid", " "), ("roles", "")) == Caller()


def test_who_has_a_key_may_do_everything() -> None:
    assert KEY_HOLDER.sees_all
    assert {READ_ALL, ADMIN, WRITE} == KEY_HOLDER.roles


MALFORMED = [
    "",
    " ",
    "no base64!",
    "é",
    "e30",
    "bnVsbA==",
    *(
        encoded(content)[HEADER]
        for content in list[Any](
            [
                b"",
                b"{",
                b"\xff\xfe",
                b'{"claims": [' + b"[" * 100_000,
                b'{"claims": [{"typ": "roles", "val": "Usage.Admin"}]} x',
                {},
                [],
                "Usage.Admin",
                {"claims": None},
                {"claims": {"roles": ADMIN}},
                {"claims": [None]},
                {"claims": [["roles", ADMIN]]},
                {"claims": [{"typ": "roles"}]},
                {"claims": [{"typ": "roles", "val": ADMIN}, {"typ": 1, "val": "x"}]},
                {"claims": [{"typ": "roles", "val": [ADMIN]}]},
                {"claims": [{"typ": "roles", "val": ADMIN}], "role_typ": ["roles"]},
                {"Claims": [{"typ": "roles", "val": ADMIN}]},
            ]
        )
    ),
]


@pytest.mark.parametrize("header", MALFORMED)
def test_what_is_no_principal_is_refused(header: str) -> None:
    with pytest.raises(ValueError):  # of base64, of JSON, of pydantic
        read_principal(header)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["claims", "typ", "val", "x"]), inner),
    max_leaves=8,
)


@given(st.text(max_size=50) | st.binary(max_size=50).map(lambda content: base64.b64encode(content).decode()))
def test_nothing_else_goes_wrong(header: str) -> None:
    try:
        read_principal(header)
    except ValueError:
        return


@given(json_values)
def test_nothing_else_goes_wrong_with_json(value: Any) -> None:
    try:
        caller = read_principal(base64.b64encode(json.dumps(value).encode()).decode())
    except ValueError:
        return
    assert caller == Caller()
