"""What the host finds in function_app.py, and what it refuses with one line."""

import pytest

from local.functions_host.app import EventHubTrigger, HttpTrigger, TimerTrigger, load_functions
from local.functions_host.retry import RetryPolicy
from local.functions_host.settings import ConfigurationError, load_settings

from .conftest import AppFolder

ALL_TRIGGERS = """
    @app.function_name("collect")
    @app.event_hub_message_trigger(arg_name="events", event_hub_name="%HUB%", connection="HUBS",
                                   consumer_group="%GROUP%", cardinality=func.Cardinality.MANY,
                                   data_type=func.DataType.BINARY)
    @app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:05")
    async def on_events(events: typing.List[func.EventHubEvent], context: func.Context) -> None: ...

    blueprint = func.Blueprint()
    @blueprint.route(route="usage/{id:int}", methods=["GET", "POST"])
    def usage(req: func.HttpRequest) -> func.HttpResponse: ...
    @blueprint.route()
    def anything(req): ...
    app.register_functions(blueprint)

    @app.timer_trigger(arg_name="timer", schedule="%WHEN%", run_on_startup=True)
    def tick(timer: func.TimerRequest) -> None: ...
"""


def test_the_three_triggers(app: AppFolder) -> None:
    settings = load_settings(app.write(ALL_TRIGGERS), {"HUB": "usage", "GROUP": "g", "WHEN": "0 * * * * *"})
    collect, usage, anything, tick = load_functions(settings)
    assert (collect.name, collect.argument, collect.wants_context) == ("collect", "events", True)
    assert collect.trigger == EventHubTrigger("usage", "g", "HUBS", many=True, binary=True)
    assert collect.retry == RetryPolicy(-1, 5, 5)
    assert usage.trigger == HttpTrigger("usage/{id:int}", frozenset({"GET", "POST"}))
    assert anything.trigger == HttpTrigger("anything", None)
    assert tick.trigger == TimerTrigger("0 * * * * *", run_on_startup=True)


def test_a_missing_setting_names_function_attribute_and_setting(app: AppFolder) -> None:
    settings = load_settings(app.write(ALL_TRIGGERS), {"HUB": "usage", "WHEN": "0 * * * * *"})
    with pytest.raises(ConfigurationError, match=r"'collect'.*consumer_group.*'GROUP'"):
        load_functions(settings)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            """
            @app.queue_trigger(arg_name="item", queue_name="q", connection="C")
            def f(item): ...
            """,
            r"'f'.*'queueTrigger'",
        ),
        (
            """
            @app.route()
            @app.queue_output(arg_name="out", queue_name="q", connection="C")
            def f(req: func.HttpRequest, out: func.Out[str]) -> str: ...
            """,
            r"'f'.*'queue'.*'out'",
        ),
        (
            """
            @app.event_hub_message_trigger(arg_name="events", event_hub_name="h", connection="C",
                                           cardinality=func.Cardinality.MANY)
            def f(events: list[func.EventHubEvent]): ...
            """,
            r"'f'.*'events'.*typing\.List",
        ),
        (
            """
            @app.route()
            def f(request: func.HttpRequest): ...
            """,
            r"'f'.*'req'",
        ),
        (
            """
            @app.route()
            def f(req: func.HttpRequest, other: int): ...
            """,
            r"'f'.*'other'",
        ),
        (
            """
            @app.timer_trigger(arg_name="t", schedule="00:01:00")
            @app.retry(strategy="fixed_delay", max_retry_count="1")
            def f(t: func.TimerRequest): ...
            """,
            r"'f'.*delay_interval",
        ),
        ("second = func.FunctionApp()", "found 2"),
        ("del app", "found 0"),
        ("@app.function_name('f')\ndef f(): ...", "'?f'? does not have a trigger"),
    ],
)
def test_what_is_refused(app: AppFolder, source: str, message: str) -> None:
    settings = load_settings(app.write(source), {})
    with pytest.raises(ConfigurationError, match=message):
        load_functions(settings)


def test_a_folder_without_an_app(app: AppFolder) -> None:
    with pytest.raises(ConfigurationError, match=r"no function_app\.py"):
        load_functions(load_settings(app.path, {}))
