"""collectors.redact, collectors.letters: what is kept of a record, and that it still says what the record said."""

import json
import time
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collectors.collect import MAX_BYTES_KEPT, MAX_DEAD_LETTERS, Collected, collect
from collectors.dialects import DIALECTS
from collectors.letters import payload_of
from collectors.record_names import CONTENT, IDENTIFIERS
from collectors.redact import Redaction
from collectors.secrets import is_secret_name, without_secrets
from models.dead_letter import DeadLetter, Payload, Payloads
from models.event import UsageEvent
from models.origin import Redriven
from models.usage import TOKEN_KINDS
from tests.collectors.dialects.fixtures import MARK, Case, cases
from tests.collectors.reading import LONG_AGO, told
from tests.support.events import NOON, raw_event, usage_event

CASES = cases()
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.module}.{case.name}")

PROSE = f"the {MARK} fox, jumping"
SECRET = "5ecret9f8e7d6c"
CONTENT_NAMES = ("messages", "prompt", "content", "input", "output", "text", "arguments", "system", "requestMessages")
SECRET_NAMES = (
    "Ocp-Apim-Subscription-Key", "api-key", "apikey", "x-functions-key", "Authorization", "access_token", "token",
    "Cookie", "password", "client_secret", "signature", "sig", "SharedAccessKey", "connectionString", "subscriptionkey",
    "storagekey", "refreshTokens", "passcode",
)  # fmt: skip


def payload(record: dict[str, Any], payloads: Payloads = "redacted") -> Payload:
    dialect = next((known for known in DIALECTS if known.recognises(record)), None)
    return payload_of(record, dialect, None, payloads)


def read(body: object, **options: Any) -> Collected:
    return collect([raw_event(body)], LONG_AGO, **options)


def outcome(result: Collected) -> object:
    """What became of the records, but for the words of a reason."""
    return told(result), [(letter.reason, letter.field, letter.dialect) for letter in result.dead_letters]


def names_of(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(names_of, value.values()))
    return set().union(*map(names_of, value)) if isinstance(value, list) else set()


# ------------------------------------------------------------------------------------------------- nothing is kept


@all_cases
def test_no_mark_of_any_dialect_is_kept(case: Case) -> None:
    kept = json.loads(payload(case.record).text)
    assert MARK not in json.dumps(kept) or MARK in names_of(case.record)
    assert all(MARK not in str(value) for value in _scalars(kept))


def _scalars(value: object) -> list[object]:
    if isinstance(value, dict):
        return [found for each in value.values() for found in _scalars(each)]
    return [found for each in value for found in _scalars(each)] if isinstance(value, list) else [value]


contents: st.SearchStrategy[Any] = st.sampled_from(
    [
        PROSE,
        [PROSE],
        [PROSE, 5, PROSE],
        {"role": "user", "content": [{"type": "text", "text": PROSE}]},
        {"model": MARK, "id": MARK, PROSE: 1, "n": {"type": MARK}},
        [{"type": MARK, "status": MARK}],
        json.dumps({"content": PROSE, "model": "m"}),
        f'{{"content": "{PROSE}", "content": ""}}',
        f"data: {{{PROSE}",
        f'data: {{"choices": [{{"delta": {{"content": "{PROSE}"}}}}]}}\n\n',
    ]
)
plants = st.one_of(
    st.tuples(st.sampled_from(CONTENT_NAMES), contents),
    st.tuples(
        st.sampled_from(("note", "extra", "Beschreibung", "x.y")), st.sampled_from([PROSE, [PROSE], {"a": PROSE}])
    ),
    st.tuples(st.just(PROSE), st.sampled_from([1, PROSE, {"a": 1}])),
    st.tuples(st.sampled_from(SECRET_NAMES), st.sampled_from([SECRET, [SECRET], {"value": SECRET}, {SECRET: 1}])),
    st.tuples(
        st.sampled_from(("note", "url", "headers")),
        st.sampled_from(
            [
                f"https://x.example/a?subscription-key={SECRET}&b=c",
                f"Bearer {SECRET}",
                [["Authorization", f"Basic {SECRET}"], ["a", "b"]],
                {"authorization": [SECRET]},
                f"Endpoint=sb://x/;SharedAccessKey={SECRET};EntityPath=y",
                json.dumps({"a": {"api_key": SECRET}}),
                json.dumps({"b": json.dumps({"a": {"api_key": SECRET}})}),
                f"api-key: {SECRET}\r\nhost: x",
                f'data: {{"token": "{SECRET}"}}\n\ndata: {{"api_key": "{SECRET}", "cut',
                f"event: sk-{SECRET}\ndata: {{}}\n\n",
                f'{{"api_key": "{SECRET}", "api_key": ""}}',
                [{"name": "api-key", "value": SECRET}, {"key": "Authorization", "values": [SECRET]}],
                ["host", "x", "api-key", SECRET],
                [["api-key", SECRET]],
                f'curl -H "api-key: {SECRET}" https://x.example',
                f"{{'api-key': '{SECRET}'}}",
                f"https://user:{SECRET}@x.example/a",
                f"<api-key>{SECRET}</api-key>",
            ]
        ),
    ),
)


@st.composite
def planted(draw: st.DrawFn) -> Any:
    """A fixture's record, or one that nobody knows, with content and secrets anywhere in it."""
    record = json.loads(json.dumps(draw(st.sampled_from([*(case.record for case in _WITHOUT_NAMED_MARK), {"x": {}}]))))
    for name, value in draw(st.lists(plants, min_size=1, max_size=4)):
        place = record
        while draw(st.booleans()):
            inner = [each for each in (*place.values(), *_items(place)) if isinstance(each, dict)]
            if not inner:
                break
            place = draw(st.sampled_from(inner))
        place[name] = deepcopy(value)
    for name in [name for name, value in record.items() if isinstance(value, dict)]:
        if draw(st.booleans()):
            record[name] = json.dumps(record[name], indent=draw(st.sampled_from([None, 1])))
    return record


def _items(place: dict[str, Any]) -> list[Any]:
    return [item for value in place.values() if isinstance(value, list) for item in value]


_WITHOUT_NAMED_MARK = [case for case in CASES if MARK not in names_of(case.record)]


@given(planted(), st.sampled_from(["plain", "wrapped", "cloud event"]), st.data())
@example({"schema": "usage-event/1", "body": f'{{"choices": [{{"message": {{"content": "{PROSE}'}, "plain", None)
def test_no_content_and_no_secret_is_kept_whatever_is_set_aside(record: Any, how: str, data: Any) -> None:
    body: Any = {"plain": record, "wrapped": {"records": [record, {}]}}.get(
        how, {"specversion": "1.0", "type": "t", "source": "s", "id": "i", "data": record}
    )
    text = json.dumps(body).encode()
    cut = text[: data.draw(st.integers(1, len(text)))] if data else text
    for each in (text, cut):
        event = raw_event(each)
        # from before which nothing is counted, so that each record is set aside
        letters = collect([event], NOON + timedelta(days=9), payloads="redacted").dead_letters
        assert MARK not in repr(letters)
        assert SECRET not in repr(letters)
        letters = collect([event], NOON + timedelta(days=9), payloads="full").dead_letters
        assert SECRET not in repr(letters)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "key", "sk-", '"key" : ', "\\", " ", "\n", "-----BEGIN ", "eyJaaaaaa.", "bearer ", "a.b-", '"key":"'),
        *('"key":', "eyJ", '"auth' + "a" * 60, "key: ", "a://b:c", "<key a", "aJQQJ99", "a" * 52, "key'"),
    ],
)
def test_looking_for_secrets_takes_no_longer_than_the_text_is(text: str) -> None:
    started = time.process_time()
    without_secrets(text * (300_000 // len(text)))
    assert time.process_time() - started < 6


@given(planted())
def test_full_keeps_all_but_the_secrets_and_redacting_what_is_redacted_changes_nothing(record: Any) -> None:
    full = payload(record, "full")
    assert full.whole
    if SECRET not in json.dumps(record) and not any(map(is_secret_name, names_of(record))):
        assert json.loads(full.text).keys() == record.keys()
    once = payload(record)
    assert not once.whole
    again = payload(json.loads(once.text))
    assert json.loads(again.text) == json.loads(once.text)


def test_content_is_there_in_full() -> None:
    record = usage_event(body=json.dumps({"choices": [{"message": {"content": PROSE}}]}), status=PROSE)
    assert payload(record, "full").text.decode().count(PROSE) == 2


# ------------------------------------------------------------------------------ what is kept says what the record said


@all_cases
def test_what_is_faithful_is_read_as_the_record_is(case: Case) -> None:
    for payloads in ("redacted", "full"):
        kept = payload(case.record, payloads)
        if kept.faithful:
            assert outcome(read(kept.text)) == outcome(read(case.record))


@all_cases
def test_a_record_that_is_counted_can_be_counted_from_what_is_kept(case: Case) -> None:
    if told(read(case.record)) and case.name not in ("long_app", "bad_url"):
        assert payload(case.record).faithful
        assert payload(case.record, "full").faithful


RESPONSES: list[dict[str, Any]] = [
    {"object": "thread.run", "model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}},
    {"object": "response", "status": "cancelled", "usage": {"input_tokens": 1000, "output_tokens": 500}},
    {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": False}], "usage": None},
    {"id": "r", "results": [{"index": 0, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 1}}},
    {"error": {"message": "a secret prompt", "type": "bad"}},
]
PATHS = [
    "/v1/threads/thread_1/runs/run_1",
    "/v1/chat/completions/chatcmpl-1",
    "/v1/responses/resp_1/cancel?api-version=2025-04-01&key=5ecret9f8e7d6c",
    "https://user:5ecret9f8e7d6c@gw.example.com/v1/moderations?a=b",
    "/v1/rerank",
    "/v1/chat/completions",
    "/v1/rerank/a long/path with/ words",
    "",
]


@pytest.mark.parametrize("member", ["path", "url"])
@pytest.mark.parametrize("path", PATHS)
def test_what_a_request_asked_for_is_still_known_of_what_is_kept(path: str, member: str) -> None:
    """A run that is read again is not charged, nor when it comes by way of a dead letter."""
    for response in RESPONSES:
        for body in (response, json.dumps(response)):
            for request in ({"method": "POST", member: path, "body": "{}"}, f'{{"{member}": "{path}"}}'):
                record = {
                    "request_id": "x-1",
                    "request": request,
                    "response": {"status": 200, "headers": {}, "body": body},
                }
                kept = payload(record)
                assert SECRET.encode() not in kept.text
                if " " in path:
                    assert not kept.faithful
                else:
                    assert kept.faithful
                    assert told(read(kept.text)) == told(read(record))


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"llama3","response":"hi \\ud83d","done":true,"prompt_eval_count":21,"eval_count":369}',
        '{"model":"llama3","message":{"content":"hi"},"done":true,"prompt_eval_count":21,"eval_count":369}',
        '{"generation":"hi \\ud83d","prompt_token_count":5,"generation_token_count":10}',
        '{"inputTextTokenCount":5,"results":[{"tokenCount":7,"outputText":"hi \\ud83d"}]}',
        '{"prompt_eval_count":21,"eval_count":369,"of_their_own":1e999}',
    ],
)
def test_usage_at_the_top_of_an_answer_is_told_without_its_text(body: str) -> None:
    record = {"schema": "usage-event/1", "request_id": "r", "timestamp": "2026-11-20T12:00:00Z", "body": body}
    for payloads in ("redacted", "full"):
        assert payload(record, payloads).faithful


@pytest.mark.parametrize("member", ["request_id", "app_id", "user_id", "backend_id"])
def test_an_identity_that_lost_its_query_is_no_identity(member: str) -> None:
    record = {"schema": "usage-event/1", "request_id": "r", "timestamp": "2026-11-20T12:00:00Z"}
    assert payload(record | {member: "https://gw.example.com/log/1"}).faithful
    kept = payload(record | {member: "https://gw.example.com/log?call=1"})
    assert b"call=1" not in kept.text
    assert not kept.faithful


@given(
    st.sampled_from(CASES),
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.one_of(st.none(), st.text(max_size=80), st.integers(), st.just({}), st.just([{"a": "b c"}])),
        ),
        max_size=3,
    ),
    st.sampled_from(["redacted", "full"]),
)
def test_faithful_means_the_same_reading_for_every_record(
    case: Case, changes: list[tuple[int, Any]], payloads: Payloads
) -> None:
    record = dict(case.record)
    for place, value in changes:
        record[list(record)[place % len(record)]] = value
    letters = read(record, payloads=payloads).dead_letters
    kept = letters[0].payload if letters else payload(record, payloads)
    if kept is not None and kept.faithful:
        assert outcome(read(kept.text)) == outcome(read(record))


@given(st.sampled_from([case for case in CASES if case.call or case.half]), st.data())
def test_a_cut_record_is_kept_cut(case: Case, data: st.DataObject) -> None:
    text = json.dumps(case.record).encode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    late = collect([raw_event(cut)], NOON + timedelta(days=9), payloads="redacted")
    for letter in late.dead_letters:
        if letter.payload is not None and letter.payload.faithful:
            assert outcome(read(letter.payload.text)) == outcome(read(cut))


def test_every_count_and_every_member_of_the_usage_event_is_known_not_to_be_a_secret() -> None:
    texts = [name for dialect in DIALECTS for name in getattr(dialect, "TEXTS", ())]
    for name in (*texts, *TOKEN_KINDS, *UsageEvent.model_fields, *IDENTIFIERS):
        assert not is_secret_name(name), name
        assert name.lower() not in CONTENT or name == "body", name


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "promptTokens", "total_tokens", "TotalTokens", "inputTextTokenCount", "input_token_details", "tokens",
        "x-amzn-bedrock-input-token-count", "toolUsePromptTokenCount", "author", "monkey", "sessionId", "keyboard",
    ],
)  # fmt: skip
def test_names_of_counts_and_others(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET /a?code=5e&x=1", "GET /a?code=…(secret)&x=1"),
        ("a Bearer abc.def-g b", "a Bearer …(secret) b"),
        ("eyJhbGciOiJI.eyJzdWIi.sig5", "…(secret)"),
        ("my key is sk-abcdefgh12345678", "my key is …(secret)"),
        ("AccountName=a;AccountKey=abc==;x", "AccountName=a;AccountKey=…(secret);x"),
        ('{\\"api_key\\": \\"a\\\\b\\", \\"n\\": 5}', '{\\"api_key\\": \\"…(secret)\\", \\"n\\": 5}'),
        ("host: x\napi-key: 5e\nb: c", "host: x\napi-key:…(secret)\nb: c"),
        ('{"a": 1, "api_key": ["5e", {"b": "5e"}], "c": "d', '{"a": 1, "api_key": […(secret)'),
        ('{"auth": {"b": "5e"}}', '{"auth": {…(secret)'),
        (
            '{"password": 55, "total_tokens": 5, "token_count": 5}',
            '{"password": …(secret), "total_tokens": 5, "token_count": 5}',
        ),
        ('curl -H "api-key: 5e" x', 'curl -H "api-key: …(secret)" x'),
        ("{'api-key': '5e', 'n': 5}", "{'api-key': '…(secret)', 'n': 5}"),
        ("see https://u:5e@x/y, a@b:c", "see https://u:…(secret)@x/y, a@b:c"),
        ("<api-key a='b'>5e</api-key>", "<api-key a='b'>…(secret)</api-key>"),
        ("groq's gsk_" + "a" * 24, "groq's …(secret)"),
        ("a" * 52 + "JQQJ99" + "b" * 26, "…(secret)"),
        ("nothing: to see, no = key", "nothing: to see, no = key"),
    ],
)
def test_secrets_that_show_by_themselves(text: str, left: str) -> None:
    assert without_secrets(text) == left


# ------------------------------------------------------------------------------------------------ in their dead letters


def letter_of(record: object, **options: Any) -> DeadLetter:
    [letter] = read(record, **{"payloads": "redacted"} | options).dead_letters
    return letter


@pytest.mark.parametrize("secret", [f"sk-{SECRET}", f"eyJabcdefg.{SECRET}.{SECRET}"])
def test_a_secret_that_stands_for_an_id_is_not_kept(secret: str) -> None:
    letter = letter_of(usage_event(request_id=secret, timestamp=5))
    assert letter.request_id is None
    assert secret not in repr(letter)


def test_the_culprit_is_needed_to_mend_the_record() -> None:
    assert _kept(letter_of(usage_event(status=600_000))).faithful
    assert not _kept(letter_of(usage_event(duration_ms="quite long"))).faithful
    assert _kept(letter_of(usage_event(status="two hundred"), payloads="full")).faithful


def _kept(letter: DeadLetter) -> Payload:
    assert letter.payload is not None
    return letter.payload


def test_a_record_that_nobody_knows_is_kept_in_its_structure() -> None:
    record = {
        "app": "my app",
        "model": "gpt-4o",
        "usage": {"in": 5},
        "at": "2026-11-20T12:00:00Z",
        "ok": True,
        "n": None,
    }
    kept = _kept(letter_of(record))
    assert json.loads(kept.text) == record | {"app": "…(6 characters)"}
    assert not kept.faithful
    assert _kept(letter_of({name: value for name, value in record.items() if name != "app"})).faithful


@pytest.mark.parametrize("body", [b"no json", b"", b'"text"', b"[5]", b"{"])
def test_of_what_is_no_record_nothing_is_kept(body: bytes) -> None:
    for payloads in ("redacted", "full"):
        assert letter_of(body, payloads=payloads).payload is None


def test_nothing_is_kept_unless_asked_for() -> None:
    assert letter_of({"a": 1}, payloads="none").payload is None


def test_of_very_many_bad_records_as_much_is_kept_as_stays_quick() -> None:
    large = json.dumps({"a": "x" * 1_000_000}).encode()
    events = [raw_event(large, sequence_number=number) for number in range(7)]
    letters = collect(events, LONG_AGO, payloads="redacted").dead_letters
    kept = [letter.payload is not None for letter in letters]
    assert kept == [True] * -(-MAX_BYTES_KEPT // len(large)) + [False] * (7 - -(-MAX_BYTES_KEPT // len(large)))

    many = collect([raw_event([{"a": 1}] * (MAX_DEAD_LETTERS + 5))], LONG_AGO, payloads="redacted").dead_letters
    assert [letter.payload is not None for letter in many] == [True] * MAX_DEAD_LETTERS
    assert many[-1].records == 6


def test_a_fault_in_keeping_sets_the_record_aside_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Redaction, *arguments: object) -> None:
        raise RecursionError

    monkeypatch.setattr(Redaction, "of", fail)
    letter = letter_of(usage_event(status="x"))
    assert (letter.reason, letter.payload) == ("invalid_field", None)


def test_what_was_removed_is_never_counted_as_what_it_was() -> None:
    record = json.loads(payload(usage_event(app_id="x" * 200)).text)
    event = raw_event(record)
    again = event._replace(redriven=Redriven(event.origin, 0, 1, None, None, whole=False))
    result = collect([again], LONG_AGO, payloads="redacted")
    [letter] = result.dead_letters
    assert (letter.reason, letter.field, letter.attempt) == ("content_removed", "app", 1)
    assert not result.calls


def test_no_estimate_is_made_of_what_is_left_of_a_text() -> None:
    body = json.dumps({"choices": [{"message": {"content": PROSE}}], "model": "gpt-4o"})
    record = json.loads(payload(usage_event(usage=None, body=body)).text)
    event = raw_event(record)
    [call] = collect([event], LONG_AGO, estimate_usage=True).calls
    assert call.usage_state == "estimated"
    again = event._replace(redriven=Redriven(event.origin, 0, 1, None, None, whole=False))
    [call] = collect([again], LONG_AGO, estimate_usage=True).calls
    assert call.usage_state == "missing"


def test_an_event_whose_name_was_removed_stays_as_it_is() -> None:
    once = payload({"note": "event: not one word\ndata: {}\n\n"})
    assert json.loads(payload(json.loads(once.text)).text) == json.loads(once.text)


# ------------------------------------------------------------------------------------------ what a stranger looked for


@pytest.mark.parametrize(
    ("name", "value"),
    [("header_name", "header_value"), ("headerName", "headerValue"), ("k", "v"), ("name", "raw"), ("name", "content"),
     ("key", "string_value"), ("Name", "Value")],
)  # fmt: skip
def test_a_pair_of_name_and_value_is_a_member_under_its_usual_names(name: str, value: str) -> None:
    for said in ("api-key", "Authorization", "X-MS-CLIENT-PRINCIPAL", "client_assertion"):
        record = {"headers": [{name: said, value: SECRET}], "else": {name: said, value: {"a": SECRET}}}
        assert SECRET.encode() not in payload(record, "full").text
    assert SECRET.encode() in payload({"else": {name: "weather", value: SECRET}}, "full").text


@pytest.mark.parametrize("name", ["client_assertion", "authz", "X-MS-CLIENT-PRINCIPAL", "sasurl", "sasUri"])
def test_these_names_are_of_secrets(name: str) -> None:
    assert SECRET.encode() not in payload({name: SECRET}, "full").text


@pytest.mark.parametrize(
    "text",
    [
        f"X-Auth: {SECRET}",
        f"GET / HTTP/1.1\r\nAuthorization:\r\n {SECRET}\r\nHost: x",
        f"use ApiKey {SECRET}",
        f"curl -u user:{SECRET} https://x",
        f"curl --user 'user:{SECRET}' https://x",
        f"https://login/?redirect=https%3A%2F%2Fx%3Fapi-key%3D{SECRET}",
        f'<add key="ApiKey" value="{SECRET}"/>',
        f'<wsse:Password Type="PasswordText">{SECRET}</wsse:Password>',
        f"git clone https://{SECRET}@host/x",
    ],
)
def test_these_texts_have_secrets(text: str) -> None:
    assert SECRET.encode() not in payload({"note": text}, "full").text
