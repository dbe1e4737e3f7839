"""What azd runs before and after its own steps (azure.yaml): `python3 infra/hooks.py preprovision|postdeploy|predown`.

azd gives the environment's values, and after a provision the template's outputs, as environment variables. What is
said goes to a person; where a step must not be done it ends with 1, and azd stops. It needs the standard library only.
"""

import ipaddress
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

PARAMETERS: Final = Path(__file__).with_name("main.parameters.json")
API_POLICIES: Final = ("none", "mode-a", "mode-b", "mode-c")
GATEWAY_LOGS: Final = ("none", "llm", "llm-and-gateway")
"""As the template has them. In other letters they would be another mode to what is compared here."""


def parameters(environment: Mapping[str, str]) -> dict[str, str]:
    """What azd gives the template: `${NAME=default}` is the environment's value, or the default if it has none."""
    stated = json.loads(PARAMETERS.read_text(encoding="utf-8"))["parameters"]
    return {name: _filled(entry["value"], environment) for name, entry in stated.items()}


def _filled(value: object, environment: Mapping[str, str]) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return re.sub(r"\$\{(\w+)=?([^}]*)\}", lambda found: environment.get(found[1]) or found[2], value)


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "t", "1")  # as azd reads it


def refused(given: Mapping[str, str], created: str = "") -> list[str]:
    """Why these parameters cannot be meant: most are right alone, so that the template takes them. `created` is the
    gateway that the last provision made or kept."""
    creates = _is_true(given["createApiManagement"])
    connects = creates or given["apiManagementName"]
    reasons = []
    for name, value, known in (
        ("API_POLICY", given["apiPolicy"], API_POLICIES),
        ("GATEWAY_LOGS", given["gatewayLogs"], GATEWAY_LOGS),
    ):
        if value not in known:
            reasons.append(f"{name} is {value!r}: expected one of {', '.join(known)}.")
    if given["apiPolicy"] != "none":
        needed = {
            "API_NAME": given["apiName"],
            "ENTRA_AUDIENCE": given["entraAudience"],
            "API_MANAGEMENT_NAME": connects,
        }
        reasons += [
            f"API_POLICY needs {name}, which is not set. Set it, or API_POLICY to none."
            for name, value in needed.items()
            if not value
        ]
    if given["apiPolicy"] == "mode-b" and given["gatewayLogs"] == "none":
        reasons.append(
            "API_POLICY=mode-b takes the usage from the gateway's log, and GATEWAY_LOGS is none: every call would be "
            "counted without usage. Set GATEWAY_LOGS to llm, or another API_POLICY."
        )
    if creates and not given["apiManagementPublisherEmail"]:
        reasons.append("CREATE_API_MANAGEMENT needs API_MANAGEMENT_PUBLISHER_EMAIL, which is not set.")
    if creates and given["apiName"] and not created:
        reasons.append(
            f"CREATE_API_MANAGEMENT makes a gateway without APIs, and API_NAME is {given['apiName']!r}: provision "
            "without API_NAME and API_POLICY, make the API, then set them and provision again. If an earlier version "
            "of this template made the gateway and the API is there: azd env set CREATED_GATEWAY <the gateway's name>."
        )
    reasons += _refused_addresses(given["gatewayAddresses"], _is_true(given["privateNetwork"]))
    if creates and _is_true(given["privateNetwork"]) and not given["gatewayAddresses"]:
        reasons.append(
            "CREATE_API_MANAGEMENT makes a gateway that is in no network, and with PRIVATE_NETWORK it could not reach "
            "the hubs: nothing would be counted. Set GATEWAY_ADDRESSES, or connect a gateway that has a network "
            '(docs/getting-started.md, "Private network").'
        )
    return reasons


def _refused_addresses(addresses: str, is_private: bool) -> list[str]:
    if not addresses:
        return []
    if not is_private:
        return ["GATEWAY_ADDRESSES needs PRIVATE_NETWORK, which is not true: it would keep nobody out."]
    reasons = []
    for address in (part.strip() for part in addresses.split(",")):
        try:
            everyone = ipaddress.IPv4Network(address, strict=False).prefixlen == 0
        except ValueError:
            everyone = True
        if everyone:
            reasons.append(
                f"GATEWAY_ADDRESSES has {address!r}: expected IPv4 addresses or ranges such as 203.0.113.7 or "
                "203.0.113.0/28, divided by commas."
            )
    return reasons


def preprovision(environment: Mapping[str, str]) -> int:
    given = parameters(environment)
    reasons = refused(given, environment.get("CREATED_GATEWAY", ""))
    for reason in reasons:
        print(reason, file=sys.stderr)
    if reasons:
        return 1
    if _is_true(given["privateNetwork"]):
        _register_microsoft_app(environment.get("AZURE_SUBSCRIPTION_ID", ""))
        if given["apiManagementName"] and not given["gatewayAddresses"]:
            print(
                f"PRIVATE_NETWORK turns the hubs' public address off: {given['apiManagementName']} has to reach them "
                'from its own network, else its calls are not counted (docs/getting-started.md, "Private network").'
            )
    return 0


def _register_microsoft_app(subscription: str) -> None:
    """Flex Consumption needs this provider for a network; no resource of the template has it, so Azure does not
    register it by itself. Where it cannot be done here it may be done already: then only the deployment can tell."""
    command = ["az", "provider", "register", "--namespace", "Microsoft.App", "--wait"]
    command += ["--subscription", subscription] if subscription else []
    program = shutil.which("az")
    if program and subprocess.run([program, *command[1:]], check=False).returncode == 0:
        return
    print(
        "PRIVATE_NETWORK needs the resource provider Microsoft.App. It could not be registered from here (is the Azure "
        f"CLI there, and signed in?). If the deployment fails: {shlex.join(command)}",
        file=sys.stderr,
    )


def postdeploy(environment: Mapping[str, str]) -> int:
    """azd writes outputs into the environment and shows none (Azure/azure-dev #2204)."""
    print(f"\nQuery: {environment.get('USAGE_URL', '')}\n{environment.get('NEXT_STEPS', '')}\n")
    return 0


def predown(environment: Mapping[str, str]) -> int:
    """`azd down` deletes resource groups, and may take for its own each in which the last provision made something:
    until spring 2026 always, since then with --force where it cannot tell (Azure/azure-dev #2916, #7603)."""
    given = parameters(environment)
    connected = environment.get("CONNECTED_GATEWAY", "")
    if not connected and given["apiManagementName"] and not _is_true(given["createApiManagement"]):
        group = given["apiManagementResourceGroup"] or environment.get("AZURE_RESOURCE_GROUP", "")
        connected = f"{group}/{given['apiManagementName']}"
    if not connected:
        return 0
    group, _, name = connected.rpartition("/")
    group = group or environment.get("AZURE_RESOURCE_GROUP", "")
    lines = [
        f"Stopped: azd down may delete the resource group {group} with all that is in it, the gateway {name} too,",
        "since this environment is connected to that gateway, which azd did not make.",
    ]
    if group.lower() == environment.get("AZURE_RESOURCE_GROUP", "").lower():
        lines.append(
            "It lies in the environment's own group, which azd down always deletes: move it to another one first."
        )
    lines += [
        'Take out of it what docs/getting-started.md, "Take it down", names, then disconnect it and try again:',
        "    azd env set API_POLICY none",
        '    azd env set API_MANAGEMENT_NAME ""',
        "    azd provision",
    ]
    print("\n".join(lines), file=sys.stderr)
    return 1


HOOKS: Final[Mapping[str, Callable[[Mapping[str, str]], int]]] = {
    "preprovision": preprovision,
    "postdeploy": postdeploy,
    "predown": predown,
}

if __name__ == "__main__":
    sys.exit(HOOKS[sys.argv[1]](os.environ))
