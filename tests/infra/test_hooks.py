"""What azd runs around its own steps, run as azure.yaml has it: from this folder, by sh, with azd's environment."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import hooks
from tests.infra.bicep import MAIN, ROOT, names_of

HOOKS: dict[str, Any] = yaml.safe_load((ROOT / "azure.yaml").read_text())["hooks"]
READY = {"API_POLICY": "mode-b", "API_NAME": "chat", "ENTRA_AUDIENCE": "api://chat", "API_MANAGEMENT_NAME": "apim"}
CREATE = {"CREATE_API_MANAGEMENT": "true", "API_MANAGEMENT_PUBLISHER_EMAIL": "it@example.com"}
OUTPUTS = {
    "AZURE_RESOURCE_GROUP": "rg-one",
    "USAGE_URL": "https://one/api/usage",
    "NEXT_STEPS": "Key of the query: az x",
}


def run(hook: str, path: Path, **environment: str) -> tuple[int, str, str]:
    """With nothing on PATH but Python, and what a test puts there."""
    python = path / "python3"
    if not python.exists():
        python.symlink_to(sys.executable)
    done = subprocess.run(
        ["/bin/sh", "-c", HOOKS[hook]["posix"]["run"]],
        cwd=ROOT,
        env={"PATH": str(path), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def az(path: Path, code: int) -> Path:
    """An Azure CLI that notes what it was asked."""
    asked = path / "asked"
    command = path / "az"
    command.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nexit {code}\n')
    command.chmod(0o755)
    return asked


def test_both_kinds_of_shell_run_the_same() -> None:
    for name, hook in HOOKS.items():
        assert hook["posix"] == {"shell": "sh", "run": f"python3 infra/hooks.py {name}", "interactive": True}
        line = f"python infra/hooks.py {name}; exit $LASTEXITCODE"
        assert hook["windows"] == {"shell": "pwsh", "run": line, "interactive": True}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"GATEWAY_LOGS": "none"}, "GATEWAY_LOGS is none"),
        ({"GATEWAY_LOGS": ""}, "GATEWAY_LOGS is none"),
        ({"GATEWAY_LOGS": "llm", "ENTRA_AUDIENCE": ""}, "ENTRA_AUDIENCE"),
        ({"GATEWAY_LOGS": "llm", "API_NAME": ""}, "API_NAME"),
        ({"API_POLICY": "mode-a", "API_MANAGEMENT_NAME": ""}, "API_MANAGEMENT_NAME"),
        ({"API_POLICY": "none", "API_NAME": "", "PRIVATE_NETWORK": "true"} | CREATE, "GATEWAY_ADDRESSES"),
        ({"API_POLICY": "Mode-A"}, "API_POLICY is 'Mode-A'"),
        ({"API_POLICY": "none", "GATEWAY_LOGS": "LLM"}, "GATEWAY_LOGS is 'LLM'"),
        ({"API_POLICY": "none", "GATEWAY_ADDRESSES": "203.0.113.7"}, "PRIVATE_NETWORK"),
        ({"API_POLICY": "none", "API_NAME": "", "CREATE_API_MANAGEMENT": "true"}, "API_MANAGEMENT_PUBLISHER_EMAIL"),
        ({"API_POLICY": "none"} | CREATE, "API_NAME is 'chat'"),
        *(
            ({"API_POLICY": "none", "PRIVATE_NETWORK": "true", "GATEWAY_ADDRESSES": addresses}, f"has {wrong!r}")
            for addresses, wrong in (
                (" ", ""),
                ("203.0.113.7,", ""),
                ("gateway.example.net", "gateway.example.net"),
                ("203.0.113.7;203.0.113.8", "203.0.113.7;203.0.113.8"),
                ("0.0.0.0/0", "0.0.0.0/0"),
            )
        ),
    ],
)
def test_what_would_count_nothing_is_refused_before_anything_is_made(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    asked = az(tmp_path, 0)
    code, _, told = run("preprovision", tmp_path, **(READY | changes))
    assert (code, reason in told, asked.exists()) == (1, True, False)
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    "environment",
    [
        {},
        READY | {"GATEWAY_LOGS": "llm"},
        READY | {"GATEWAY_LOGS": "llm-and-gateway"},
        READY | {"API_POLICY": "mode-a"},
        CREATE,
        READY | CREATE | {"API_MANAGEMENT_NAME": "", "API_POLICY": "mode-c", "CREATED_GATEWAY": "apim-1"},
        {"GATEWAY_LOGS": "llm"},
    ],
)
def test_all_else_is_let_through(tmp_path: Path, environment: dict[str, str]) -> None:
    assert run("preprovision", tmp_path, **environment) == (0, "", "")


def test_a_private_network_registers_the_provider_that_it_needs(tmp_path: Path) -> None:
    asked = az(tmp_path, 0)
    private = {"PRIVATE_NETWORK": "true", "AZURE_SUBSCRIPTION_ID": "sub"}
    assert run("preprovision", tmp_path, **private) == (0, "", "")
    assert asked.read_text() == "provider register --namespace Microsoft.App --wait --subscription sub\n"


def test_a_gateway_beside_a_private_network_is_spoken_of(tmp_path: Path) -> None:
    """Only its operator knows whether it has a way in, so it is not refused."""
    az(tmp_path, 0)
    private = {"PRIVATE_NETWORK": "true", "API_MANAGEMENT_NAME": "apim"}
    code, told, _ = run("preprovision", tmp_path, **private)
    assert (code, "apim has to reach them" in told) == (0, True)
    addresses = "203.0.113.7, 203.0.113.16/28"
    assert run("preprovision", tmp_path, **private, GATEWAY_ADDRESSES=addresses) == (0, "", "")


@pytest.mark.parametrize("there", [True, False])
def test_where_it_cannot_be_registered_the_operator_is_told_how(tmp_path: Path, there: bool) -> None:
    if there:
        az(tmp_path, 1)
    code, _, told = run("preprovision", tmp_path, PRIVATE_NETWORK="true", AZURE_SUBSCRIPTION_ID="sub")
    assert code == 0
    assert "az provider register --namespace Microsoft.App --wait --subscription sub" in told


def test_a_line_to_run_is_quoted(tmp_path: Path) -> None:
    _, _, told = run("preprovision", tmp_path, PRIVATE_NETWORK="true", AZURE_SUBSCRIPTION_ID="a b;touch x")
    assert "--subscription 'a b;touch x'" in told


def test_after_a_deployment_the_address_and_what_to_do_next_are_shown(tmp_path: Path) -> None:
    code, told, _ = run("postdeploy", tmp_path, **OUTPUTS)
    assert code == 0
    assert OUTPUTS["USAGE_URL"] in told
    assert OUTPUTS["NEXT_STEPS"] in told


@pytest.mark.parametrize(
    ("environment", "group"),
    [
        ({"CONNECTED_GATEWAY": "rg-company/apim"}, "rg-company"),
        ({"API_MANAGEMENT_NAME": "apim", "API_MANAGEMENT_RESOURCE_GROUP": "rg-company"}, "rg-company"),
        ({"API_MANAGEMENT_NAME": "apim", "CONNECTED_GATEWAY": ""}, "rg-one"),
        ({"API_MANAGEMENT_NAME": "other", "CONNECTED_GATEWAY": "rg-company/apim"}, "rg-company"),
        ({"CONNECTED_GATEWAY": "apim"}, "rg-one"),
    ],
)
def test_a_company_s_gateway_is_not_taken_down(tmp_path: Path, environment: dict[str, str], group: str) -> None:
    """Neither while the last provision connected one nor while the next one would."""
    code, _, told = run("predown", tmp_path, **(OUTPUTS | environment))
    assert code == 1
    assert f"resource group {group} " in told
    assert "gateway apim " in told
    assert ("own group" in told) == (group == "rg-one")
    assert 'azd env set API_MANAGEMENT_NAME ""' in told


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"API_MANAGEMENT_NAME": "", "CONNECTED_GATEWAY": ""},
        {"API_MANAGEMENT_NAME": "apim-new", "CREATE_API_MANAGEMENT": "true", "CONNECTED_GATEWAY": ""},
    ],
)
def test_what_azd_made_alone_goes_down(tmp_path: Path, environment: dict[str, str]) -> None:
    assert run("predown", tmp_path, **(OUTPUTS | environment)) == (0, "", "")


def settings_of(page: str, section: str) -> dict[str, str]:
    """What the lines `azd env set` of this section set."""
    text = (ROOT / "docs" / page).read_text().partition(f"### {section}\n")[2].partition("\n### ")[0]
    lines = [shlex.split(line) for line in re.findall(r"^ *azd env set (.*)$", text, re.MULTILINE)]
    return dict(lines)


def test_what_the_docs_connected_is_taken_down_as_they_say(tmp_path: Path) -> None:
    connected = settings_of("getting-started.md", "Connect a gateway")
    assert connected["API_POLICY"] == "mode-b"
    outputs = {**OUTPUTS, "CONNECTED_GATEWAY": "<group>/<gateway>"}
    assert run("preprovision", tmp_path, **connected)[0] == 0
    code, _, told = run("predown", tmp_path, **connected, **outputs)
    assert code == 1

    disconnected = settings_of("getting-started.md", "Take it down")
    said = [shlex.split(line) for line in re.findall(r"^ *azd env set (.*)$", told, re.MULTILINE)]
    assert dict(said) == disconnected
    assert run("preprovision", tmp_path, **(connected | disconnected), **outputs) == (0, "", "")
    outputs["CONNECTED_GATEWAY"] = ""
    assert run("predown", tmp_path, **(connected | disconnected), **outputs) == (0, "", "")


def test_the_values_that_are_let_through_are_those_of_the_template() -> None:
    template = MAIN.read_text()
    for name, known in (("gatewayLogs", hooks.GATEWAY_LOGS), ("apiPolicy", hooks.API_POLICIES)):
        (allowed,) = re.findall(rf"@allowed\((\[[^]]*\])\)\n@description\([^\n]*\)\nparam {name} ", template)
        assert re.findall(r"'([^']*)'", allowed) == list(known)


def test_what_the_hooks_read_are_outputs_of_the_template() -> None:
    assert {"CONNECTED_GATEWAY", "CREATED_GATEWAY", "AZURE_RESOURCE_GROUP", "USAGE_URL", "NEXT_STEPS"} <= names_of(
        MAIN, "output"
    )


def test_the_hooks_need_nothing_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "infra/hooks.py", "postdeploy"], cwd=ROOT, env=os.environ, check=False
    )
    assert done.returncode == 0
