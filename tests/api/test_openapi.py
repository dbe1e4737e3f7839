"""GET /api/openapi.json and GET /api/docs: all of the API, and nothing else."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta
from pydantic import TypeAdapter

from api.access import NEEDS, Need
from api.openapi.document import all_operations, document
from api.openapi.page import POLICY, as_page
from queries.openai_parameters import PARAMETERS_OF
from queries.parameters import CallsParameters, UsageParameters
from tests.api.asked import ask
from tests.api.conftest import Configure
from tests.test_function_app import _functions


def bindings() -> dict[tuple[str, str], str]:
    """The authorisation level of each method of each route, as the Functions host reads them."""
    return {
        (f"/api/{binding['route']}", str(method).rsplit(".", 1)[-1]): str(binding["authLevel"]).rsplit(".", 1)[-1]
        for each in _functions().values()
        for binding in each["bindings"]
        if binding["type"] == "httpTrigger"
        for method in binding["methods"]
    }


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method.upper()): operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


class TestDocument:
    def test_it_has_every_route_and_method_and_no_other(self) -> None:
        assert operations().keys() == bindings().keys()

    def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(self) -> None:
        found = operations().values()
        assert len({each["operationId"] for each in found}) == len(found)
        assert all(each["summary"] and each["description"] for each in found)

    def test_a_key_is_asked_for_where_the_host_asks(self) -> None:
        open_to_all = {each for each, operation in operations().items() if {} in operation["security"]}
        assert open_to_all == {each for each, level in bindings().items() if level == "ANONYMOUS"}

    def test_it_says_who_is_refused(self) -> None:
        for endpoint, method, operation in all_operations():
            need = NEEDS[endpoint][method]
            shown = operations()[f"/api/{operation.route}", method]
            refusals = {"401", "403"} & shown["responses"].keys()
            # One needs a role with deep=1, the other to see the app that is asked for.
            if endpoint not in ("health", "budget_status"):
                assert refusals == (set() if need is Need.NOTHING else {"401", "403"} if need.value else {"401"})
            assert all(role in shown["description"] for role in need.value or ())

    def test_every_schema_is_one_of_json_schema_2020_12(self) -> None:
        schemas = document()["components"]["schemas"]
        for name, schema in schemas.items():
            whole = {**schema, "components": {"schemas": schemas}}
            meta.validate(whole | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
            Draft202012Validator(whole)  # resolves every reference
            assert schema.get("description"), name

    def test_its_examples_are_as_it_says(self) -> None:
        schemas = document()["components"]["schemas"]
        for (path, _), operation in operations().items():
            if "requestBody" in operation:
                media = operation["requestBody"]["content"]["application/json"]
                validator = Draft202012Validator({**media["schema"], "components": {"schemas": schemas}})
                validator.validate(media["example"])
            for parameter in operation["parameters"]:
                if "example" in parameter:
                    Draft202012Validator(parameter["schema"]).validate(parameter["example"])
                assert (f"{{{parameter['name']}}}" in path) == (parameter["in"] == "path")

    async def test_it_is_answered_without_any_setting(self, no_settings: pytest.MonkeyPatch) -> None:
        """It tells no data, and needs none."""
        reply = await ask("openapi")
        assert (reply.status, reply.json) == (200, document())
        assert (await ask("docs")).status == 200

    async def test_it_takes_no_parameters_but_the_key(self, configure: Configure) -> None:
        await configure()
        for endpoint in ("openapi", "docs"):
            assert (await ask(endpoint, "code=k")).status == 200
            assert (await ask(endpoint, "format=yaml")).error["code"] == "unknown_parameter"


class TestParameters:
    """What the models say is what the checks go by."""

    async def test_every_choice_is_taken_and_no_other(self, configure: Configure) -> None:
        await configure()
        day = "from=2024-02-29T00:00:00Z&to=2024-03-01T00:00:00Z"
        for endpoint, known, beside in (("usage", UsageParameters, ""), ("calls", CallsParameters, "&app=x")):
            for name in ("granularity", "format", "fill", "compare"):
                if name in known.names():
                    for value in known.choices(name):
                        assert (await ask(endpoint, f"{day}{beside}&{name}={value}")).status == 200, (name, value)
                    reply = await ask(endpoint, f"{day}{beside}&{name}=x")
                    assert (reply.status, reply.error["parameter"]) == (400, name)
        for value in UsageParameters.choices("group_by"):
            assert (await ask("usage", f"{day}&group_by={value}")).status == 200, value
        most = CallsParameters.most("limit")
        assert (await ask("calls", f"{day}&app=x&limit={most}")).status == 200
        assert (await ask("calls", f"{day}&app=x&limit={most + 1}")).error["parameter"] == "limit"

    @pytest.mark.parametrize("known", [UsageParameters, CallsParameters, *PARAMETERS_OF.values()])
    def test_defaults_are_among_what_is_possible(self, known: Any) -> None:
        for name, field in known.model_fields.items():
            if field.default is not None and not field.is_required():
                TypeAdapter(field.annotation).validate_python(known.default(name))


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


class TestPage:
    async def test_it_runs_no_script_and_loads_nothing(self, configure: Configure) -> None:
        await configure()
        reply = await ask("docs")
        assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
        assert reply.headers["Referrer-Policy"] == "no-referrer"  # its address can hold a key
        policy = reply.headers["Content-Security-Policy"]
        assert policy == POLICY
        assert "default-src 'none'" in policy
        (style,) = re.findall("<style>(.*?)</style>", reply.text, re.DOTALL)
        assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
        page = _Page(reply.text)
        assert page.open == []
        assert not {"script", "link", "img", "iframe", "form", "base"} & set(page.tags)
        names = {name for name, _ in page.attributes}
        assert not {"style", "src"} & names
        assert not any(name.startswith("on") for name in names)

    def test_every_link_leads_somewhere_and_every_operation_is_there(self) -> None:
        page = _Page(as_page(document()))
        ids = [value for name, value in page.attributes if name == "id"]
        assert len(set(ids)) == len(ids)
        links = {value for name, value in page.attributes if name == "href"}
        assert links - {f"#{each}" for each in ids} == {"openapi.json"}
        assert {each["operationId"] for each in operations().values()} <= set(ids)

    def test_every_text_is_escaped(self) -> None:
        def hostile(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: hostile(each) for name, each in value.items()}
            if isinstance(value, list):
                return [hostile(each) for each in value]
            known = ("array", "object", "string", "integer", "number", "boolean", "null", "query", "path", "header")
            return f'{value}<script>"&' if isinstance(value, str) and value not in known else value

        page = as_page(hostile(document()))
        assert "<script" not in page
        assert "&lt;script&gt;" in page

    def test_what_it_says_to_paste_is_json(self) -> None:
        bodies = re.findall(r"-d &#x27;(.*?)&#x27;</pre>", as_page(document()))
        assert len(bodies) == sum("requestBody" in each for each in operations().values())
        assert all(json.loads(body.replace("&quot;", '"')) for body in bodies)
