"""infra/ holds together as far as that can be seen without Azure.

With a Bicep compiler on the machine (`bicep`, or `az` with it) the files are compiled as well. Without, what it would
say of types and of the registry's modules stays unsaid: docs/getting-started.md, "What was not verified".
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.infra.bicep import (
    FILES,
    INFRA,
    MAIN,
    ROOT,
    body,
    declared,
    faults,
    names_of,
    parsed,
    properties,
    required_parameters,
    string,
    strings,
    text,
    unknown_names,
    variable,
    walk,
)

REGISTRY = {
    "br/public:avm/res/managed-identity/user-assigned-identity:0.4.1": {"name", "location", "tags"},
    "br/public:avm/res/operational-insights/workspace:0.7.0": {"name", "location", "tags", "dataRetention"},
    "br/public:avm/res/insights/component:0.4.1": {
        "name",
        "location",
        "tags",
        "workspaceResourceId",
        "disableLocalAuth",
    },
    "br/public:avm/res/storage/storage-account:0.13.2": {
        "name",
        "location",
        "tags",
        "kind",
        "skuName",
        "allowBlobPublicAccess",
        "allowSharedKeyAccess",
        "dnsEndpointType",
        "minimumTlsVersion",
        "publicNetworkAccess",
        "networkAcls",
        "blobServices",
    },
}
"""The versions of Azure's verified modules and the parameters of each that azd's Python quickstarts pass
(Azure-Samples/functions-quickstart-python-http-azd, MadhuraBharadwaj-MSFT/functions-quickstart-python-azd-evhub)."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_parses_and_every_name_in_it_is_declared(path: Path) -> None:
    assert faults(parsed(path)) == []
    assert unknown_names(path) == set()
    loaded = re.findall(r"load(?:Text|Json)Content\('([^']+)'\)", path.read_text())
    assert [name for name in loaded if not (path.parent / name).is_file()] == []


def test_a_name_that_nothing_declares_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.bicep"
    path.write_text("param a string\nvar b = '${a}${c}'\noutput d string = toLower(e.f)\nvar g = [for h in b: h[i]]\n")
    assert unknown_names(path) == {"c", "e", "i"}
    broken = tmp_path / "b.bicep"
    broken.write_text("param a string =\nvar b = {\n")
    assert faults(parsed(broken))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_type_has_a_version(path: Path) -> None:
    nested = {"config", "basicPublishingCredentialsPolicies"}  # these have their parent's
    for resource in declared(path, "resource"):
        assert resource.type in nested or re.search(r"@20\d\d-\d\d-\d\d(-preview)?$", resource.type), resource.type


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_module_is_given_what_it_takes_and_asked_for_what_it_has(path: Path) -> None:
    for module in declared(path, "module"):
        given = set(properties(properties(body(module))["params"]))
        asked = set(re.findall(rf"\b{module.symbol}\.outputs\.(\w+)", path.read_text()))
        if module.type.startswith("br/"):
            assert given <= REGISTRY[module.type], module.symbol
            assert asked <= {"name", "resourceId", "principalId", "clientId"}
            continue
        source = path.parent / module.type
        assert required_parameters(source) <= given <= names_of(source, "parameter"), module.symbol
        assert asked <= names_of(source, "output"), module.symbol


def test_every_module_is_used() -> None:
    used = {(MAIN.parent / module.type).resolve() for module in declared(MAIN, "module")}
    assert {path for path in FILES if path != MAIN} <= used


def test_the_parameters_of_azd_are_those_of_the_template_with_the_same_defaults() -> None:
    file = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert required_parameters(MAIN) <= set(file) <= names_of(MAIN, "parameter")
    defaults = {
        text(node.named_children[0]): text(node.named_children[2]).strip("'")
        for node in parsed(MAIN).named_children
        if node.type == "parameter_declaration" and len(node.named_children) == 3
    }
    for name, entry in file.items():
        if isinstance(entry["value"], str) and "=" in entry["value"]:
            assert entry["value"].rstrip("}").split("=", 1)[1] == defaults[name], name


def test_two_environments_fit_side_by_side() -> None:
    """Every name is made from the token, and that from subscription, environment and location."""
    token = text(variable(MAIN, "resourceToken"))
    assert token == "toLower(uniqueString(subscription().id, environmentName, location))"
    for module in declared(MAIN, "module"):
        params = properties(properties(body(module))["params"])
        for key in ("name", "planName", "actionGroupName"):
            if key in params and params[key].type == "string":
                assert "${resourceToken}" in text(params[key]), module.symbol
    assert "${resourceToken}" in text(variable(MAIN, "functionAppName"))
    assert "${resourceToken}" in text(variable(MAIN, "gatewayName"))
    longest = max(len(f"st{what}") + 13 for what in ("host", "usage"))  # uniqueString gives 13 characters
    assert longest <= 24, "the most that a storage account's name has"


def test_a_gateway_refuses_a_second_environment_before_anything_else_of_it_is_touched() -> None:
    """Named values cannot share a display name: the claim's name is the environment's, what it shows is fixed."""
    claim = next(each for each in declared(INFRA / "app/gateway-claim.bicep", "resource") if each.symbol == "claim")
    assert claim.type.startswith("Microsoft.ApiManagement/service/namedValues@")
    of = properties(body(claim))
    assert text(of["name"]) == "'usage-collector-${eventHubNamespaceName}'"
    assert string(properties(of["properties"])["displayName"]) == "usage-collector"
    assert {"apiManagement"} <= _waits_for("gatewayClaim")
    assert {"gatewayClaim"} <= _waits_for("gatewayRole")


def test_the_gateway_may_send_before_it_is_told_to() -> None:
    assert {"gatewayRole", "functionApp"} <= _waits_for("gateway")
    policy = next(each for each in declared(INFRA / "app/gateway.bicep", "resource") if each.symbol == "policy")
    after = {text(node) for node in properties(body(policy))["dependsOn"].named_children}
    assert after == {"policyFragments"}


def test_every_logger_that_something_names_is_made() -> None:
    gateway = INFRA / "app/gateway.bicep"
    assert "/loggers/" not in "".join(strings(gateway)), "by its symbol, so that it is there"
    made = {each.symbol: properties(body(each)) for each in declared(gateway, "resource")}
    logger = properties(made["llmLog"]["properties"])["loggerId"]
    assert text(logger) == "azureMonitor.id"
    assert string(made["azureMonitor"]["name"]) == "azuremonitor"
    assert string(properties(made["azureMonitor"]["properties"])["loggerType"]) == "azureMonitor"


def test_throughput_is_what_the_operator_says_and_inflates_only_above_it() -> None:
    hubs = INFRA / "app/event-hubs.bicep"
    namespace = properties(body(next(each for each in declared(hubs, "resource") if each.symbol == "namespace")))
    assert text(properties(namespace["sku"])["capacity"]) == "throughputUnits"
    assert text(variable(hubs, "inflates")) == "maximumThroughputUnits > throughputUnits"
    of = properties(namespace["properties"])
    assert text(of["isAutoInflateEnabled"]) == "inflates"
    assert text(of["maximumThroughputUnits"]) == "inflates ? maximumThroughputUnits : 0"


def test_every_value_that_azd_asks_the_environment_for_is_in_the_docs() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text()))
    page = (ROOT / "docs/getting-started.md").read_text()
    assert {name for name in asked if f"`{name}`" not in page} <= {"AZURE_ENV_NAME", "AZURE_LOCATION"}


def test_a_private_network_leaves_no_door_open() -> None:
    """`Deny` with no rule beside it lets all traffic in, so without addresses the public endpoint itself is off."""
    hubs = INFRA / "app/event-hubs.bicep"
    assert text(variable(hubs, "publicAccess")) == (
        "privateNetwork && empty(gatewayAddresses) ? 'Disabled' : 'Enabled'"
    )
    made = {each.symbol: properties(body(each)) for each in declared(hubs, "resource")}
    namespace, rules = (properties(made[symbol]["properties"]) for symbol in ("namespace", "networkRules"))
    assert text(namespace["publicNetworkAccess"]) == text(rules["publicNetworkAccess"]) == "publicAccess"
    assert text(rules["defaultAction"]) == "privateNetwork ? 'Deny' : 'Allow'"
    assert "for address in (privateNetwork ? gatewayAddresses : [])" in text(rules["ipRules"])
    for account in (each for each in declared(MAIN, "module") if "storage-account" in each.type):
        params = properties(properties(body(account))["params"])
        assert text(params["publicNetworkAccess"]) == "privateNetwork ? 'Disabled' : 'Enabled'", account.symbol


def test_azd_finds_template_code_and_app() -> None:
    azure = yaml.safe_load((ROOT / "azure.yaml").read_text())
    assert (ROOT / azure["infra"]["path"] / f"{azure['infra']['module']}.bicep") == MAIN
    (service,) = azure["services"]
    assert azure["services"][service] == {"project": ".", "language": "python", "host": "function"}
    assert f"'azd-service-name': '{service}'" in (INFRA / "app/function-app.bicep").read_text()
    assert "'azd-env-name': environmentName" in text(variable(MAIN, "tags"))


def test_the_gateway_gets_every_fragment_and_every_example() -> None:
    """Of the capture modes; those of budgets read named values that only some want, and are put by docs/budgets.md."""
    gateway = INFRA / "app/gateway.bicep"
    wanted = {path.stem for path in (ROOT / "policies/fragments").glob("*.xml")}
    fragments = [properties(node) for node in walk(variable(gateway, "fragments")) if node.type == "object"]
    assert {text(each["name"]).strip("'") for each in fragments} == wanted
    for each in fragments:
        assert f"/fragments/{text(each['name']).strip(chr(39))}.xml" in text(each["value"])
    examples = properties(variable(gateway, "examples"))
    assert set(examples) - {"none"} == {path.stem for path in (ROOT / "policies/examples").glob("mode-*.xml")}
    read = {
        name
        for path in (ROOT / "policies/examples").glob("mode-*.xml")
        for name in re.findall(r"\{\{([\w-]+)\}\}", path.read_text())
    }
    filled = set(re.findall(r"'\{\{([\w-]+)\}\}'", text(variable(gateway, "policyXml"))))
    assert filled == read, "what an example reads is put into it"


def test_nothing_in_the_gateway_is_shared_by_apis_but_our_own() -> None:
    """A named value is one for all APIs: two audiences would be one, and a company's own of that name replaced."""
    for name in ("gateway", "gateway-claim"):
        made = [
            each.symbol for each in declared(INFRA / f"app/{name}.bicep", "resource") if "/namedValues@" in each.type
        ]
        assert made == (["claim"] if name == "gateway-claim" else []), name
    policy = next(each for each in declared(INFRA / "app/gateway.bicep", "resource") if each.symbol == "policy")
    assert text(properties(properties(body(policy))["properties"])["value"]) == "policyXml"


def _waits_for(symbol: str) -> set[str]:
    """The modules whose outputs a module of the template takes, and those of its `dependsOn`."""
    module = next(each for each in declared(MAIN, "module") if each.symbol == symbol)
    of = properties(body(module))
    after = of["dependsOn"].named_children if "dependsOn" in of else []
    return set(re.findall(r"\b(\w+)\.outputs\.", text(of["params"]))) | {text(node) for node in after}


COMPILER = next(
    (command for command in (["bicep", "build"], ["az", "bicep", "build", "--file"]) if shutil.which(command[0])), None
)
if COMPILER:  # pragma: no cover - not on every machine

    def test_it_compiles(tmp_path: Path) -> None:
        """Without the network the registry's modules cannot be restored (BCP190, BCP192): all else is compiled."""
        assert COMPILER
        done = subprocess.run(
            [*COMPILER, str(MAIN), "--outfile", str(tmp_path / "main.json")],
            capture_output=True,
            text=True,
            check=False,
        )
        errors = [line for line in done.stderr.splitlines() if re.search(r"\bError (?!BCP190|BCP192)", line)]
        assert errors == []
