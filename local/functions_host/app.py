"""Discovery: from a folder with `function_app.py` to the list of functions, each with its trigger and retry policy."""

import importlib.util
import inspect
import json
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.functions.eventhub import EventHubTriggerConverter
from azure.functions.http import HttpRequestConverter
from azure.functions.timer import TimerRequestConverter

from local.functions_host.retry import RetryPolicy, parse_retry_policy
from local.functions_host.settings import ConfigurationError, Settings

MODULE_NAME = "function_app"
_CONVERTERS = {
    "httpTrigger": HttpRequestConverter,
    "eventHubTrigger": EventHubTriggerConverter,
    "timerTrigger": TimerRequestConverter,
}


@dataclass(frozen=True)
class HttpTrigger:
    """`route` is below the route prefix; `methods` None means all."""

    route: str
    methods: frozenset[str] | None


@dataclass(frozen=True)
class EventHubTrigger:
    """`connection` is the prefix of the app settings that tell how to connect."""

    event_hub: str
    consumer_group: str
    connection: str
    many: bool
    binary: bool


@dataclass(frozen=True)
class TimerTrigger:
    schedule: str
    run_on_startup: bool


@dataclass(frozen=True)
class FunctionSpec:
    """One function of the app; `argument` is the parameter that takes what triggered it."""

    name: str
    call: Callable[..., Any]
    argument: str
    wants_context: bool
    trigger: HttpTrigger | EventHubTrigger | TimerTrigger
    retry: RetryPolicy


def load_functions(settings: Settings) -> list[FunctionSpec]:
    """Imports the app and describes its functions.

    Raises:
        ConfigurationError: the app uses something this host does not know, or a setting is missing.
        Exception: whatever the import of function_app.py raises.
    """
    app = import_app(settings.app_dir)
    try:
        functions = app.get_functions()
    except ValueError as error:  # no trigger, or a name used twice
        raise ConfigurationError(str(error)) from error
    return [_describe(function, settings) for function in functions]


def import_app(app_dir: Path) -> func.FunctionRegister:
    """Runs function_app.py anew, with its folder first on the import path, and finds the one app object in it."""
    path = app_dir / f"{MODULE_NAME}.py"
    if not path.is_file():
        raise ConfigurationError(f"there is no {path.name} in {app_dir}")
    if str(app_dir) not in sys.path:
        sys.path.insert(0, str(app_dir))
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    spec.loader.exec_module(module)
    apps = {id(value): value for value in vars(module).values() if isinstance(value, func.FunctionRegister)}
    if len(apps) != 1:
        raise ConfigurationError(f"{path.name} must define one FunctionApp object, found {len(apps)}")
    return next(iter(apps.values()))


def _describe(function: func.Function, settings: Settings) -> FunctionSpec:
    name = function.get_function_name()
    assert name is not None
    trigger: dict[str, Any] = {}
    for binding in map(json.loads, function.get_raw_bindings()):
        if binding["type"] in _CONVERTERS:
            trigger = binding
        elif (binding["type"], binding["name"]) != ("http", "$return"):
            raise ConfigurationError(
                f"function '{name}': this local host does not know the binding '{binding['type']}' "
                f"(parameter '{binding['name']}'); it runs HTTP, Event Hubs and timer triggers only"
            )
    call = function.get_user_function()
    try:
        retry = parse_retry_policy(function.get_settings_dict("retry_policy"))
    except ValueError as error:
        raise ConfigurationError(f"function '{name}': retry policy: {error}") from error
    return FunctionSpec(
        name=name,
        call=call,
        argument=trigger["name"],
        wants_context=_check_signature(name, call, trigger),
        trigger=_trigger(name, trigger, settings),
        retry=retry,
    )


def _trigger(name: str, binding: dict[str, Any], settings: Settings) -> HttpTrigger | EventHubTrigger | TimerTrigger:
    def resolved(key: str, attribute: str, default: str = "") -> str:
        return settings.resolve(binding.get(key) or default, function=name, attribute=attribute)

    match binding["type"]:
        case "httpTrigger":
            methods = binding.get("methods")
            return HttpTrigger(binding["route"], frozenset(map(str.upper, methods)) if methods else None)
        case "eventHubTrigger":
            return EventHubTrigger(
                event_hub=resolved("eventHubName", "event_hub_name"),
                consumer_group=resolved("consumerGroup", "consumer_group", "$Default"),
                connection=resolved("connection", "connection"),
                many=str(binding.get("cardinality", "one")).lower() == "many",
                binary=str(binding.get("dataType", "")).lower() == "binary",
            )
        case _:
            return TimerTrigger(resolved("schedule", "schedule"), bool(binding.get("runOnStartup")))


def _check_signature(name: str, call: Callable[..., Any], trigger: dict[str, Any]) -> bool:
    """Whether the function takes a `context`. Refuses the signatures the Python worker refuses."""
    parameters = set(inspect.signature(call).parameters)
    argument = trigger["name"]
    wants_context = "context" in parameters and argument != "context"
    if argument not in parameters:
        raise ConfigurationError(f"function '{name}': the trigger's parameter '{argument}' is not in its signature")
    if unknown := parameters - {argument, "context"}:
        raise ConfigurationError(f"function '{name}': no binding for the parameter '{min(unknown)}'")
    try:
        annotation = typing.get_type_hints(call).get(argument)
        fits = annotation is None or _CONVERTERS[trigger["type"]].check_input_type_annotation(annotation)
    except (NameError, TypeError):
        fits = False
    if not fits:
        raise ConfigurationError(
            f"function '{name}': the annotation of '{argument}' does not fit a {trigger['type']} "
            "(the Python worker takes func.HttpRequest, func.TimerRequest, func.EventHubEvent and "
            "typing.List[func.EventHubEvent], not list[...])"
        )
    return wants_context
