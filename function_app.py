"""The bindings: what triggers the app, and how a failure is repeated. What happens then is in pipeline.py and api/.

Importing this needs no settings and no network. The API is imported when it is first asked, so that a fault in it never
takes the collection down.
"""

import os
import typing

import azure.functions as func

from settings import app_service_authenticates

# The host asks for a key beside the token of App Service authentication, and who has a token needs none. Where that
# should be on and is not, keys are asked for, and api/access.py answers nobody. (docs/security.md)
_SIGNED_IN = os.environ.get("AUTHENTICATION", "").strip() == "app_service" and app_service_authenticates(os.environ)
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS if _SIGNED_IN else func.AuthLevel.FUNCTION)


def _counts(hub: str) -> typing.Callable[[typing.Any], typing.Any]:
    """The trigger of a function that counts what comes from the hub which the app setting `hub` names.

    The checkpoint moves past a batch whether or not its function failed; only a retry policy holds it. So: for ever.
    (learn.microsoft.com, "Azure Functions reliable event processing"; why that is safe: docs/architecture.md)
    """
    trigger = app.event_hub_message_trigger(
        arg_name="events",
        event_hub_name=f"%{hub}%",
        consumer_group="%CONSUMER_GROUP%",
        connection="EventHubConnection",
        cardinality=func.Cardinality.MANY,
        data_type=func.DataType.BINARY,
    )
    retry = app.retry(
        strategy="exponential_backoff",
        max_retry_count="-1",
        minimum_interval="00:00:01",
        maximum_interval="00:01:00",
    )
    return lambda function: trigger(retry(function))


@app.function_name("collect_usage_events")
@_counts("USAGE_EVENTS_HUB")
async def collect_usage_events(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    """Count a batch. `typing.List` because the worker's loader refuses `list[...]` here."""
    await _ingest(events, context, "usage_events_hub")


# A trigger whose hub is not named would keep the whole app from starting.
if os.environ.get("GATEWAY_LOGS_HUB", "").strip():

    @app.function_name("collect_gateway_logs")
    @_counts("GATEWAY_LOGS_HUB")
    async def collect_gateway_logs(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
        """Join a batch of the gateway's own logs with the calls they tell of."""
        await _ingest(events, context, "gateway_logs_hub")


async def _ingest(events: list[func.EventHubEvent], context: func.Context, hub: str) -> None:
    from collectors.hub import raw_events
    from pipeline import ingest
    from services import get

    services = get()
    await ingest(raw_events(events, getattr(services.settings, hub)), services, context.invocation_id)


@app.function_name("settle_pending")
@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
async def settle_pending(timer: func.TimerRequest, context: func.Context) -> None:
    """Every minute: tell how far counting is behind, and count the calls whose other half did not come in time."""
    from backlog import watch
    from pipeline import settle
    from services import get

    await watch(get())
    await settle(get(), context.invocation_id)


@app.function_name("purge_calls")
@app.timer_trigger(arg_name="timer", schedule="0 */10 * * * *")
async def purge_calls(timer: func.TimerRequest, context: func.Context) -> None:
    """Every ten minutes: delete call rows past their retention, and dead letters as old; the aggregates stay."""
    from pipeline import purge
    from services import get

    await purge(get(), context.invocation_id)


@app.function_name("usage")
@app.route("usage", methods=["GET"])
async def usage(req: func.HttpRequest) -> func.HttpResponse:
    """Token totals: docs/api.md."""
    return await _answer("usage", req)


@app.function_name("openai_completions")
@app.route("v1/organization/usage/completions", methods=["GET"])
async def openai_completions(req: func.HttpRequest) -> func.HttpResponse:
    """Usage as OpenAI's clients ask for it: docs/openai-usage-api.md."""
    return await _answer("openai_completions", req)


@app.function_name("openai_embeddings")
@app.route("v1/organization/usage/embeddings", methods=["GET"])
async def openai_embeddings(req: func.HttpRequest) -> func.HttpResponse:
    """The same of embeddings."""
    return await _answer("openai_embeddings", req)


@app.function_name("openai_costs")
@app.route("v1/organization/costs", methods=["GET"])
async def openai_costs(req: func.HttpRequest) -> func.HttpResponse:
    """What it cost."""
    return await _answer("openai_costs", req)


@app.function_name("calls")
@app.route("calls", methods=["GET"])
async def calls(req: func.HttpRequest) -> func.HttpResponse:
    """One app's calls, newest first."""
    return await _answer("calls", req)


@app.function_name("call")
@app.route("calls/{request_id}", methods=["GET"])
async def call(req: func.HttpRequest) -> func.HttpResponse:
    """All that is known of one call."""
    return await _answer("call", req)


@app.function_name("apps")
@app.route("apps", methods=["GET"])
async def apps(req: func.HttpRequest) -> func.HttpResponse:
    """The apps that had calls."""
    return await _answer("apps", req)


@app.function_name("models")
@app.route("models", methods=["GET"])
async def models(req: func.HttpRequest) -> func.HttpResponse:
    """The models that answered."""
    return await _answer("models", req)


@app.function_name("app_entry")
@app.route("apps/{app}", methods=["GET", "PUT"])
async def app_entry(req: func.HttpRequest) -> func.HttpResponse:
    """What is entered of an app: its name, owner and cost centre."""
    return await _answer("app_entry", req)


@app.function_name("model_entry")
@app.route("models/{deployment}", methods=["GET", "PUT"])
async def model_entry(req: func.HttpRequest) -> func.HttpResponse:
    """The model that is entered for a deployment."""
    return await _answer("model_entry", req)


@app.function_name("prices")
@app.route("prices", methods=["GET"])
async def prices(req: func.HttpRequest) -> func.HttpResponse:
    """Which price applies to which model, and what has none."""
    return await _answer("prices", req)


@app.function_name("price")
@app.route("prices/{id}", methods=["GET", "PUT", "DELETE"])
async def price(req: func.HttpRequest) -> func.HttpResponse:
    """A price of the operator's own: docs/prices.md."""
    return await _answer("price", req)


@app.function_name("events")
@app.route("events", methods=["POST"])
async def events(req: func.HttpRequest) -> func.HttpResponse:
    """Usage events, for the hub: docs/api.md."""
    return await _answer("events", req)


@app.function_name("dead_letters")
@app.route("dead-letters", methods=["GET"])
async def dead_letters(req: func.HttpRequest) -> func.HttpResponse:
    """Records that were set aside: docs/dead-letters.md."""
    return await _answer("dead_letters", req)


@app.function_name("dead_letter")
@app.route("dead-letters/{id}", methods=["GET"])
async def dead_letter(req: func.HttpRequest) -> func.HttpResponse:
    """One of them, with what is kept of the record."""
    return await _answer("dead_letter", req)


@app.function_name("redrive")
@app.route("dead-letters/redrive", methods=["POST"])
async def redrive(req: func.HttpRequest) -> func.HttpResponse:
    """Send some to the hub again."""
    return await _answer("redrive", req)


@app.function_name("health")
@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether the app runs and is configured."""
    return await _answer("health", req)


@app.function_name("metrics")
@app.route("metrics", methods=["GET"])
async def metrics(req: func.HttpRequest) -> func.HttpResponse:
    """For Prometheus: docs/operations.md."""
    return await _answer("metrics", req)


@app.function_name("openapi")
@app.route("openapi.json", methods=["GET"])
async def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """What the API is, for tools."""
    return await _answer("openapi", req)


@app.function_name("docs")
@app.route("docs", methods=["GET"])
async def docs(req: func.HttpRequest) -> func.HttpResponse:
    """What the API is, for people."""
    return await _answer("docs", req)


@app.function_name("dashboard")
@app.route("dashboard", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def dashboard(req: func.HttpRequest) -> func.HttpResponse:
    """The page to look at, without data: it asks for a key, or to sign in, itself."""
    return await _answer("dashboard", req)


@app.function_name("dashboard_file")
@app.route("dashboard/{file}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def dashboard_file(req: func.HttpRequest) -> func.HttpResponse:
    """What the page is made of."""
    return await _answer("dashboard_file", req)


async def _answer(endpoint: str, req: func.HttpRequest) -> func.HttpResponse:
    from api.endpoints import answer

    # params holds one value a name and loses empty ones, so the query string is read from the URL
    response = await answer(endpoint, req.url, dict(req.headers), req.get_body(), dict(req.route_params), req.method)
    return func.HttpResponse(response.body, status_code=response.status, headers=response.headers)
