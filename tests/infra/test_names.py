"""infra/ and the code name the same things, and nothing in infra/ is a secret."""

import json
import re
from pathlib import Path

import pytest

import services
from local import parts
from settings import Settings
from tests.infra.bicep import FILES, INFRA, MAIN, ROOT, body, declared, names_of, properties, string, text, variable

APP = INFRA / "app/function-app.bicep"
SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]

CONNECTION_STRINGS = {"AzureWebJobsStorage", "EventHubConnection", "UsageStorage"}
NOT_ON_FLEX = {"FUNCTIONS_WORKER_RUNTIME"}
"""learn.microsoft.com, "Azure Functions Flex Consumption plan hosting", deprecated properties and settings."""
IDENTITY = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "EventHubConnection__credential",
    "AZURE_CLIENT_ID",
}
"""learn.microsoft.com, "Guidance for developing Azure Functions", "Configure an identity-based connection"."""

ROLES = {
    "storageBlobDataOwner": ("Storage Blob Data Owner", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),
    "storageTableDataContributor": ("Storage Table Data Contributor", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),
    "azureEventHubsDataReceiver": ("Azure Event Hubs Data Receiver", "a638d3c7-ab3a-418d-83e6-5f17a39d4fde"),
    "azureEventHubsDataSender": ("Azure Event Hubs Data Sender", "2b629674-e913-4c01-ae53-ef4638d8f975"),
    "monitoringMetricsPublisher": ("Monitoring Metrics Publisher", "3913510d-42f4-4e42-8a64-420c390055eb"),
    "keyVaultSecretsUser": ("Key Vault Secrets User", "4633458b-17de-408a-b874-0445c85b69e6"),  # given by operators
}
"""learn.microsoft.com, "Azure built-in roles"."""
SCOPES = {
    ("hostStorage", "storageBlobDataOwner"),
    ("usageStorage", "storageTableDataContributor"),
    ("usageEvents", "azureEventHubsDataReceiver"),
    ("gatewayLogs", "azureEventHubsDataReceiver"),
    ("usageEvents", "azureEventHubsDataSender"),
    ("applicationInsights", "monitoringMetricsPublisher"),
}


def _strings() -> dict[str, str]:
    """The app settings that Bicep gives as text."""
    given = properties(variable(APP, "settings"))
    return {name: string(node) for name, node in given.items() if node.type == "string"}


def test_the_app_settings_are_those_of_the_code_the_sample_and_the_docs() -> None:
    """tests/test_settings.py compares the other three."""
    given = set(properties(variable(APP, "settings")))
    assert given == set(SAMPLE) - CONNECTION_STRINGS - NOT_ON_FLEX | IDENTITY


def test_the_app_settings_have_the_defaults_of_the_code() -> None:
    literal = {name: value for name, value in _strings().items() if "${" not in value and name in SAMPLE}
    assert {name: SAMPLE[name] for name in literal} == literal
    assert len(literal) > 20


def test_the_code_takes_the_app_settings() -> None:
    """As they are after a deployment, with an address where Bicep asks the service for one."""
    deployed = {
        "UsageStorage__tableServiceUri": "https://stusage0123456789abc.table.core.windows.net",
        "EventHubConnection__fullyQualifiedNamespace": "evhns-0123456789abc.servicebus.windows.net",
        "USAGE_EVENTS_HUB": "usage-events",
        "GATEWAY_LOGS_HUB": "",
        "AUTHENTICATION": "function_key",
    }
    settings = Settings.from_environment(_strings() | deployed)
    assert settings.hub_connection_string is None
    assert settings.tables_connection_string is None


def test_hubs_and_consumer_group_are_those_of_the_code_and_the_local_stack() -> None:
    assert string(variable(MAIN, "usageEventsHub")) == parts.USAGE_HUB == SAMPLE["USAGE_EVENTS_HUB"]
    assert string(variable(MAIN, "gatewayLogsHub")) == parts.GATEWAY_LOGS_HUB == SAMPLE["GATEWAY_LOGS_HUB"]
    assert string(variable(MAIN, "consumerGroup")) == parts.CONSUMER_GROUP == SAMPLE["CONSUMER_GROUP"]
    logger = next(each for each in declared(INFRA / "app/gateway.bicep", "resource") if each.symbol == "logger")
    send = (ROOT / "policies/fragments/usage-send.xml").read_text()
    assert f'logger-id="{string(properties(body(logger))["name"])}"' in send


def test_no_table_is_named_so_that_the_app_makes_its_own() -> None:
    """Tables are made by the code, with TABLE_PREFIX; a second place that names them could only disagree."""
    assert not [path for path in FILES if "tableServices" in path.read_text()]


async def test_the_docs_tell_every_table_that_the_app_makes() -> None:
    account = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    found = services.build({"UsageStorage": account, "USAGE_EVENTS_HUB": "usage-events"})
    page = (ROOT / "docs/security.md").read_text()
    stored = re.findall(r"^\| tables? (`[^|]*) \|", page, re.MULTILINE)
    assert sorted(name for cell in stored for name in re.findall(r"`(\w+)`", cell)) == sorted(found.stores)
    await found.close()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_guid_is_a_role_by_its_name(path: Path) -> None:
    named = {name: string(variable(path, name)) for name in names_of(path, "variable") & set(ROLES)}
    assert {name: guid for name, (_, guid) in ROLES.items() if name in named} == named
    guids = re.findall(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", path.read_text())
    assert sorted(guids) == sorted(named.values())


def test_each_role_is_given_on_one_resource_and_nothing_wider() -> None:
    given = set()
    for path in (INFRA / "app/roles.bicep", INFRA / "app/gateway-role.bicep"):
        for resource in declared(path, "resource"):
            if "roleAssignments" in resource.type:
                of = properties(body(resource))
                role = re.search(r"roleDefinitions', (\w+)\)", text(of["properties"]))
                assert role
                assert "principalType: 'ServicePrincipal'" in text(of["properties"])
                assert text(of["name"]) == f"guid({text(of['scope'])}.id, principalId, {role[1]})"
                given.add((text(of["scope"]), role[1]))
    assert given == SCOPES
    assert not [path for path in FILES if "roleAssignments" in path.read_text() and "role" not in path.stem]


def test_the_docs_tell_each_role_and_its_id() -> None:
    page = (ROOT / "docs/getting-started.md").read_text()
    for name, guid in ROLES.values():
        assert re.search(rf"\| {name} \|.*`{guid}`", page), name


def test_key_vault_is_asked_with_the_identity_that_the_app_has() -> None:
    app = next(each for each in declared(APP, "resource") if each.symbol == "app")
    of = properties(body(app))
    assert list(properties(properties(of["identity"])["userAssignedIdentities"])) == ["${identityId}"]
    assert text(properties(of["properties"])["keyVaultReferenceIdentity"]) == "identityId"


@pytest.mark.parametrize("path", sorted(p for p in INFRA.rglob("*") if p.is_file()), ids=lambda path: path.name)
def test_nothing_is_a_secret_or_asks_for_one(path: Path) -> None:
    content = path.read_text()
    assert not re.search(r"(?i)list(Account)?(Keys|Secrets|Sas)|primaryKey|accountkey|sharedaccesskey|@secure", content)
    assert not re.search(r"(?i)password\s*[:=]|connectionstring(?!\b)", content.replace("CONNECTION_STRING", ""))
    assert not re.search(r"[A-Za-z0-9+/]{43}=", content), "looks like a key"


def test_keys_are_off_wherever_a_service_has_them() -> None:
    accounts = [each for each in declared(MAIN, "module") if "storage-account" in each.type]
    assert len(accounts) == 2
    for account in accounts:
        params = properties(properties(body(account))["params"])
        assert (text(params["allowSharedKeyAccess"]), text(params["allowBlobPublicAccess"])) == ("false", "false")
    insights = next(each for each in declared(MAIN, "module") if "insights/component" in each.type)
    assert text(properties(properties(body(insights))["params"])["disableLocalAuth"]) == "true"
    namespace = next(
        each for each in declared(INFRA / "app/event-hubs.bicep", "resource") if each.symbol == "namespace"
    )
    assert (
        text(properties(properties(body(namespace))["properties"])["disableLocalAuth"]) == "!receivesFromAzureMonitor"
    )
    assert "param gatewayLogs string = 'none'" in MAIN.read_text()
    publishing = [each for each in declared(APP, "resource") if "PublishingCredentials" in each.type]
    assert len(publishing) == 2
    assert all("allow: false" in text(each.node) for each in publishing)
