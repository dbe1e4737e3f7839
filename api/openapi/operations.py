"""What each endpoint takes and gives, by the names and methods of api/access.py. Routes stand below /api/."""

from collections.abc import Mapping
from typing import Any, Final

from api.dead_letters import RedriveBody
from api.edits import ID
from api.openapi.alert_operations import ALERT_OPERATIONS
from api.openapi.budget_operations import BUDGET_OPERATIONS
from api.openapi.entry_shapes import (
    AliasAnswer,
    AppEntryAnswer,
    AppsAnswer,
    MissingPricesAnswer,
    ModelsAnswer,
    OwnPrice,
    OwnPriceAnswer,
    PricesAnswer,
)
from api.openapi.operation import Operation
from api.openapi.record_shapes import (
    DeadLettersAnswer,
    EventsAnswer,
    EventsBody,
    OneDeadLetter,
    RedriveAnswer,
)
from api.openapi.shapes import ErrorAnswer, OpenAIErrorAnswer
from api.openapi.site_operations import SITE_OPERATIONS
from api.openapi.usage_shapes import CallAnswer, CallsAnswer, CompletionsPage, CostsPage, EmbeddingsPage, UsageAnswer
from models.registry import Alias, AppEntry
from prices.entry import PriceEntry
from queries.openai_parameters import PARAMETERS_OF
from queries.parameters import (
    AppsParameters,
    CallParameters,
    CallsParameters,
    DeadLettersParameters,
    EndParameters,
    MonthsParameters,
    PricesParameters,
    UsageParameters,
)

NDJSON: Final = {"application/x-ndjson": "A row a line."}
CSV: Final = {"text/csv": "RFC 4180, with one header line."}
FOCUS: Final = {"text/csv; profile=focus": "Charges in the columns of FOCUS 1.3."}
MONTH: Final = {"from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z"}


def _openai(kind: Any, route: str, summary: str, page: Any) -> Operation:
    return Operation(
        f"v1/organization/{route}",
        summary,
        {200: page},
        "As OpenAI's own clients ask and read it; `project_id` is the app. docs/openai-usage-api.md.",
        takes=PARAMETERS_OF[kind],
        error=OpenAIErrorAnswer,
        example={"start_time": "1793491200", "group_by": "project_id"},
    )


_APP: Final = {"app": (".+", "search")}
_DEPLOYMENT: Final = {"deployment": (".+", "chat-prod")}
_ID: Final = {"id": (ID.pattern, "gpt-4o-contract")}
_LETTER: Final = {"id": (".+", "usage-events:0:4711:1795176000004000:1")}
_PUT: Final = "The whole entry is replaced: members that are left out are null."
_EXAMPLE_EVENT: Final = {
    "schema": "usage-event/1",
    "request_id": "c-1",
    "timestamp": "2026-11-20T13:00:00Z",
    "app_id": "search",
    "usage": {"prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42},
}
_EXAMPLE_PRICE: Final = {
    "model": "gpt-4o*",
    "valid_from": "2026-11-01T00:00:00Z",
    "per_million": {"prompt_tokens": "2.1", "cached_prompt_tokens": "1.05", "completion_tokens": "8.4"},
    "source": "contract 4711, annex 2",
}

OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "usage": {
        "GET": Operation(
            "usage",
            "Tokens, calls and costs",
            {200: UsageAnswer},
            "Over a range, by time and by any dimensions. docs/api.md says what each figure means.",
            takes=UsageParameters,
            others={**NDJSON, **CSV, **FOCUS},
            example={**MONTH, "granularity": "day", "group_by": "app"},
            paged=True,
        )
    },
    "calls": {
        "GET": Operation(
            "calls",
            "One app's calls",
            {200: CallsAnswer},
            "Newest first, as long as the rows of calls are kept.",
            takes=CallsParameters,
            others={**NDJSON, **CSV},
            example={"app": "search", "usage_state": "missing"},
            paged=True,
        )
    },
    "call": {
        "GET": Operation(
            "calls/{request_id}",
            "All that is known of one call",
            {200: CallAnswer},
            "And why it was counted as it was.",
            takes=CallParameters,
            path={"request_id": (".+", "c-1")},
            refuses=(400, 404),
            example={"app": "search"},
        )
    },
    "apps": {
        "GET": Operation(
            "apps",
            "The apps that had calls",
            {200: AppsAnswer},
            "In the months of a range, and what is entered of them.",
            takes=AppsParameters,
        )
    },
    "app_entry": {
        "GET": Operation(
            "apps/{app}",
            "What is entered of an app",
            {200: AppEntryAnswer},
            path=_APP,
            refuses=(400, 404),
            conditional=True,
        ),
        "PUT": Operation(
            "apps/{app}",
            "Enter an app's name, owner, cost centre and readers",
            {200: AppEntryAnswer, 201: AppEntryAnswer},
            _PUT,
            path=_APP,
            body=AppEntry,
            body_example={"display_name": "Search", "owner": "ann@example.com", "cost_center": "4711"},
            refuses=(400, 412, 413),
            conditional=True,
        ),
    },
    "models": {
        "GET": Operation(
            "models",
            "The models that answered",
            {200: ModelsAnswer},
            "In the months of a range, with the deployments they answered for.",
            takes=MonthsParameters,
        )
    },
    "model_entry": {
        "GET": Operation(
            "models/{deployment}",
            "The model that is entered for a deployment",
            {200: AliasAnswer},
            path=_DEPLOYMENT,
            refuses=(400, 404),
            conditional=True,
        ),
        "PUT": Operation(
            "models/{deployment}",
            "Enter the model that a deployment runs",
            {200: AliasAnswer, 201: AliasAnswer},
            "For calls whose answer named none; null takes it back.",
            path=_DEPLOYMENT,
            body=Alias,
            body_example={"model": "gpt-4o-2024-08-06"},
            refuses=(400, 412, 413),
            conditional=True,
        ),
    },
    "prices": {
        "GET": Operation(
            "prices",
            "Which price applies to which model",
            {200: PricesAnswer | MissingPricesAnswer},
            "And from when and where it is; with `missing=1`, what has none. docs/prices.md.",
            takes=PricesParameters,
            example={"model": "gpt-4o-2024-08-06"},
        )
    },
    "price": {
        "GET": Operation(
            "prices/{id}",
            "A price of your own, with its history",
            {200: OwnPriceAnswer},
            path=_ID,
            refuses=(400, 404),
            conditional=True,
        ),
        "PUT": Operation(
            "prices/{id}",
            "Enter a price of your own",
            {200: OwnPrice, 201: OwnPrice},
            "Or a new version of it: none is overwritten.",
            path=_ID,
            body=PriceEntry,
            body_example=_EXAMPLE_PRICE,
            refuses=(400, 409, 412, 413),
            conditional=True,
        ),
        "DELETE": Operation(
            "prices/{id}",
            "End a price of your own",
            {200: OwnPrice},
            "What it was charged for until then stays so.",
            takes=EndParameters,
            path=_ID,
            refuses=(400, 404, 412),
            conditional=True,
        ),
    },
    "events": {
        "POST": Operation(
            "events",
            "Send usage events to the hub",
            {202: EventsAnswer, 207: EventsAnswer, **dict.fromkeys((400, 503), ErrorAnswer | EventsAnswer)},
            "202: all accepted, 207: some. One event, an array, or one a line; also CloudEvents, and the records of "
            "other gateways. docs/events.md.",
            body=EventsBody,
            body_example=_EXAMPLE_EVENT,
            refuses=(413, 415),
        )
    },
    "dead_letters": {
        "GET": Operation(
            "dead-letters",
            "Records that were set aside",
            {200: DeadLettersAnswer},
            "The oldest first. docs/dead-letters.md.",
            takes=DeadLettersParameters,
            example={"reason": "invalid_field"},
        )
    },
    "dead_letter": {
        "GET": Operation(
            "dead-letters/{id}",
            "One of them, with what is kept of the record",
            {200: OneDeadLetter},
            path=_LETTER,
            refuses=(400, 404),
        ),
        "DELETE": Operation(
            "dead-letters/{id}",
            "Delete one of them, for good; the answer is what was deleted",
            {200: OneDeadLetter},
            path=_LETTER,
            refuses=(400, 404),
        ),
    },
    "redrive": {
        "POST": Operation(
            "dead-letters/redrive",
            "Send dead letters to the hub again",
            {200: RedriveAnswer, 202: RedriveAnswer, 503: ErrorAnswer | RedriveAnswer},
            "202 if any was sent. Those of `ids`, or of a `reason`, `from` and `to`.",
            body=RedriveBody,
            body_example={"reason": "invalid_field", "limit": 50},
            refuses=(400, 413),
        )
    },
    "openai_completions": {
        "GET": _openai("completions", "usage/completions", "OpenAI's usage API: completions", CompletionsPage)
    },
    "openai_embeddings": {
        "GET": _openai("embeddings", "usage/embeddings", "OpenAI's usage API: embeddings", EmbeddingsPage)
    },
    "openai_costs": {"GET": _openai("costs", "costs", "OpenAI's usage API: costs", CostsPage)},
    **SITE_OPERATIONS,
    **BUDGET_OPERATIONS,
    **ALERT_OPERATIONS,
}
