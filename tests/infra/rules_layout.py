"""How the files hang together: nothing unread, nothing missing, nothing unexplained, nothing secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.infra.bicep import Expr
from tests.infra.deployment import Deployment

PINS = json.loads(Path(__file__).with_name("pins.json").read_text(encoding="utf-8"))
UNLOADED = {"bicepconfig.json", "main.parameters.json"}
"""Data that the compiler and azd read by their own rules."""
SECRET = re.compile(
    r"secret|password|token|apikey|accountkey|accesskey|sas\b|connectionstring", re.IGNORECASE
)
NOT_SECRET = {"token", "shortToken"}
AZD = ">= 1.23.4"
"""``.funcignore`` since 1.18.0, objects from variables since 1.23.4 (azd's own CHANGELOG.md)."""
RUNTIME = ("function_app.py", "host.json", "handlers", "shared", "requirements.txt", "policy.toml")
NOT_DEPLOYED = ("infra", "tests", "sandbox", "docs", ".venv", "node_modules", "local.settings.json", ".azure")


def every_file_parses(deployment: Deployment) -> Iterator[str]:
    for name, file in deployment.files.items():
        yield from (f"{name}: {error}" for error in file.errors)


def every_file_is_reached_from_main(deployment: Deployment) -> Iterator[str]:
    reached, pending = {"main.bicep"}, ["main.bicep"]
    while pending:
        name = pending.pop()
        for module in deployment.files[name].modules:
            path = (deployment.infra / name).parent / module.type
            if not path.is_file():
                yield f"{name}: {module.type} is not there"
                continue
            found = path.resolve().relative_to(deployment.infra.resolve()).as_posix()
            if found not in reached:
                reached.add(found)
                pending.append(found)
    yield from (f"{name} is used by nobody" for name in deployment.files.keys() - reached)


def every_loaded_file_exists_and_every_data_file_is_loaded(deployment: Deployment) -> Iterator[str]:
    loaded = list(deployment.loaded())
    yield from (f"{name}: {path.name} is not there" for name, path in loaded if not path.is_file())
    known = {path for _, path in loaded}
    for path in sorted(deployment.infra.resolve().rglob("*")):
        if path.suffix in {".json", ".kql", ".txt"} and path.name not in UNLOADED and path not in known:
            yield f"{path.name} is loaded by nobody"


def no_module_comes_from_a_registry(deployment: Deployment) -> Iterator[str]:
    for name, file in deployment.files.items():
        yield from (f"{name}: {one.type}" for one in file.modules if ":" in one.type)


def modules_are_used_as_they_are_declared(deployment: Deployment) -> Iterator[str]:
    for name, file in deployment.files.items():
        paths = {one.name: ((deployment.infra / name).parent / one.type).resolve() for one in file.modules}
        read = {
            path.resolve(): one for key, one in deployment.files.items() for path in [deployment.infra / key]
        }
        for one in file.modules:
            declared = read[paths[one.name]].params
            needed = {key for key, param in declared.items() if param.value is None}
            given = set(one.params)
            yield from (f"{name}: {one.name} lacks {key}" for key in needed - given)
            yield from (f"{name}: {one.name} has no {key}" for key in given - declared.keys())
        for module, output in re.findall(r"\b(\w+)(?:\[\w+\])?\.outputs\.(\w+)", file.text):
            if output not in read[paths[module]].outputs:
                yield f"{name}: {module} has no output {output}"


def every_api_version_is_the_pinned_one(deployment: Deployment) -> Iterator[str]:
    used = set()
    for name, file in deployment.files.items():
        for one in file.resources:
            used.add(one.type)
            if PINS.get(one.type) != one.api_version:
                yield f"{name}: {one.type}@{one.api_version}, pinned is {PINS.get(one.type)}"
    yield from (f"{name} is pinned and not used" for name in PINS.keys() - used)


def every_parameter_and_output_is_explained(deployment: Deployment) -> Iterator[str]:
    for name, file in deployment.files.items():
        for one in (*file.params.values(), *file.outputs.values()):
            if not any(re.match(r"description\('.{8,}'\)", text) for text in one.decorators):
                yield f"{name}: {one.name}"


def outputs_of_main_are_upper_case(deployment: Deployment) -> Iterator[str]:
    yield from (name for name in deployment.main.outputs if name != name.upper())


def no_secret_goes_in_or_out(deployment: Deployment) -> Iterator[str]:
    for name, file in deployment.files.items():
        for one in (*file.params.values(), *file.outputs.values()):
            if SECRET.search(one.name) and one.name not in NOT_SECRET:
                yield f"{name}: {one.name}"
            if "secure()" in one.decorators:
                yield f"{name}: {one.name} is a secure parameter; there is no secret to pass"
        for one in file.outputs.values():
            if SECRET.search(str(one.value)) and isinstance(one.value, Expr):
                yield f"{name}: output {one.name} is {one.value}"
        for call in re.findall(r"\blist\w*\(|\.list\w+\(", file.text):
            yield f"{name}: {call}"


def parameters_of_azd_are_those_of_main(deployment: Deployment) -> Iterator[str]:
    given: dict[str, Any] = deployment.json("main.parameters.json")["parameters"]
    params = deployment.main.params
    yield from (f"{name} is no parameter" for name in given.keys() - params.keys())
    for name, param in params.items():
        if param.value is None and name not in given:
            yield f"{name} has no default and azd does not set it"
    for name, one in given.items():
        found = re.fullmatch(r"\$\{([A-Z_]+)(=(.*))?\}", str(one["value"]))
        if found is None:
            yield f"{name}: {one['value']} is no placeholder"
        elif found[2] is not None and name in params:
            default = params[name].value
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            if shown != found[3]:
                yield f"{name}: default {found[3]!r} here, {shown!r} in main.bicep"


def the_subscription_of_the_identities_is_watched(deployment: Deployment) -> Iterator[str]:
    """Its roles may be assigned there, and the deletion of an identity is heard of and believed."""
    watched = deployment.main.variables["watched"].value
    if watched != "union([subscription().subscriptionId], listed)":
        yield f"watched are {watched}"
    (roles,) = deployment.uses("role-definitions")
    scopes = roles.params["assignableScopes"]
    if scopes != "map(watched, id => '/subscriptions/${id}')":
        yield f"roles may be assigned in {scopes}"


def azure_yaml_and_tags_agree(deployment: Deployment) -> Iterator[str]:
    project = yaml.safe_load((deployment.root / "azure.yaml").read_text(encoding="utf-8"))
    if set(project["services"]) != {"app"}:
        yield f"services {set(project['services'])}"
    service = project["services"].get("app", {})
    if service != {"project": ".", "language": "python", "host": "function"}:
        yield f"service {service}"
    if project["requiredVersions"] != {"azd": AZD}:
        yield f"azd {project['requiredVersions']}"
    if project["infra"] != {"provider": "bicep", "path": "infra", "module": "main"}:
        yield f"infra {project['infra']}"
    for name, hook in project["hooks"].items():
        for one in hook.values():
            script = one["run"]
            if script.startswith("infra/") and not (deployment.root / script).is_file():
                yield f"{name}: {script} is not there"
    if "predown" not in project["hooks"]:
        yield "nothing stops azd down from deleting workload identities"
    app = deployment.module("function-app").resource("Microsoft.Web/sites")
    if app.body["tags"] != "union(tags, { 'azd-service-name': 'app' })":
        yield f"tags of the app: {app.body['tags']}"
    if "'azd-env-name': environmentName" not in deployment.main.variables["tags"].value:
        yield "tags lack azd-env-name"


def the_package_is_the_app_and_nothing_else(deployment: Deployment) -> Iterator[str]:
    lines = (deployment.root / ".funcignore").read_text(encoding="utf-8").split()
    ignored = [re.compile(re.escape(line).replace(r"\*", ".*")) for line in lines]

    def is_ignored(name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in ignored)

    yield from (f"{name} is left out" for name in RUNTIME if is_ignored(name))
    yield from (f"{name} is uploaded" for name in NOT_DEPLOYED if not is_ignored(name))


RULES = (
    every_file_parses,
    every_file_is_reached_from_main,
    every_loaded_file_exists_and_every_data_file_is_loaded,
    no_module_comes_from_a_registry,
    modules_are_used_as_they_are_declared,
    every_api_version_is_the_pinned_one,
    every_parameter_and_output_is_explained,
    outputs_of_main_are_upper_case,
    no_secret_goes_in_or_out,
    parameters_of_azd_are_those_of_main,
    the_subscription_of_the_identities_is_watched,
    azure_yaml_and_tags_agree,
    the_package_is_the_app_and_nothing_else,
)
