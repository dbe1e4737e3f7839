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


@app.function_name("watch_backlog")
@app.timer_trigger(arg_name="timer", schedule="30 * * * * *")
async def watch_backlog(timer: func.TimerRequest, context: func.Context) -> None:
    """Every minute: tell how far counting is behind. It does nothing else, since a timer's next run waits for its last
    one, and what writes waits long for tables that hang."""
    from backlog import watch
    from services import get

    await watch(get())


@app.function_name("settle_pending")
@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
async def settle_pending(timer: func.TimerRequest, context: func.Context) -> None:
    """Every minute: count the calls whose other half did not come in time."""
    from pipeline import settle
    from services import get

    await settle(get(), context.invocation_id)


@app.function_name("deliver_alerts")
@app.timer_trigger(arg_name="timer", schedule="45 * * * * *")
async def deliver_alerts(timer: func.TimerRequest, context: func.Context) -> None:
    """Every minute, a little after budgets were evaluated: send the alerts that are due (docs/alerts.md)."""
    from alerts.deliver import deliver
    from services import get

    await deliver(get(), context.invocation_id)


@app.function_name("purge_calls")
@app.timer_trigger(arg_name="timer", schedule="0 */10 * * * *")
async def purge_calls(timer: func.TimerRequest, context: func.Context) -> None:
    """Every ten minutes: delete call rows past their retention, and dead letters as old; the aggregates stay."""
    from pipeline import purge
    from services import get

    await purge(get(), context.invocation_id)


@app.function_name("evaluate_budgets")
@app.timer_trigger(arg_name="timer", schedule="30 */5 * * * *")
async def evaluate_budgets(timer: func.TimerRequest, context: func.Context) -> None:
    """Every five minutes: what was used of each budget, and alerts for the thresholds that are crossed."""
    from budgets.evaluate import evaluate
    from services import get

    await evaluate(get(), context.invocation_id)


@app.function_name("find_anomalies")
@app.timer_trigger(arg_name="timer", schedule="0 10 * * * *")
async def find_anomalies(timer: func.TimerRequest, context: func.Context) -> None:
    """Every hour: alerts for apps that use far more than they usually do."""
    from alerts.anomalies import find_anomalies
    from services import get

    await find_anomalies(get(), context.invocation_id)


def _answers(endpoint: str, route: str, *methods: str, anonymous: bool = False) -> typing.Any:
    """The function that answers requests to `/api/{route}` (GET without `methods`); api/endpoints.py says how."""

    async def function(req: func.HttpRequest) -> func.HttpResponse:
        return await _answer(endpoint, req)

    level = func.AuthLevel.ANONYMOUS if anonymous else None
    return app.function_name(endpoint)(app.route(route, methods=methods or ["GET"], auth_level=level)(function))


usage = _answers("usage", "usage")
openai_completions = _answers("openai_completions", "v1/organization/usage/completions")
openai_embeddings = _answers("openai_embeddings", "v1/organization/usage/embeddings")
openai_costs = _answers("openai_costs", "v1/organization/costs")
calls = _answers("calls", "calls")
call = _answers("call", "calls/{request_id}")
apps = _answers("apps", "apps")
models = _answers("models", "models")
app_entry = _answers("app_entry", "apps/{app}", "GET", "PUT")
model_entry = _answers("model_entry", "models/{deployment}", "GET", "PUT")
prices = _answers("prices", "prices")
price = _answers("price", "prices/{id}", "GET", "PUT", "DELETE")
budgets = _answers("budgets", "budgets")
budget = _answers("budget", "budgets/{id}", "GET", "PUT", "DELETE")
budget_status = _answers("budget_status", "budgets/status")
events = _answers("events", "events", "POST")
dead_letters = _answers("dead_letters", "dead-letters")
dead_letter = _answers("dead_letter", "dead-letters/{id}", "GET", "DELETE")
redrive = _answers("redrive", "dead-letters/redrive", "POST")
alerts = _answers("alerts", "alerts")
alert_test = _answers("alert_test", "alerts/test", "POST")
alert_retry = _answers("alert_retry", "alerts/retry", "POST")
health = _answers("health", "health", anonymous=True)
metrics = _answers("metrics", "metrics")
openapi = _answers("openapi", "openapi.json")
docs = _answers("docs", "docs")


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
