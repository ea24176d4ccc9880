"""The documents say what the code does: names, numbers and codes are compared, links are followed.

The tables of ``settings.md`` and ``targets.md`` are generated. To write them again after a change::

    .venv/bin/python -m tests.unit.test_docs
"""

import ast
import dataclasses
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator

import pytest
import yaml

from sandbox.catalogue import table
from shared import rows
from shared.catalogue import catalogue
from shared.policy import PROTECTED
from shared.settings import Settings
from tests.unit.pages import (
    BEGIN,
    END,
    REFERENCE,
    ROOT,
    SETTINGS_PAGE,
    TARGETS_PAGE,
    first_cells,
    table_rows,
)


def settings_table() -> str:
    """The table of the settings page, from the fields of ``shared.settings.Settings``."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings: dict[str, str] = {}
    for statement, follower in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(follower, ast.Expr)
            and isinstance(follower.value, ast.Constant)
        ):
            meanings[statement.target.id] = " ".join(str(follower.value.value).split()).replace("``", "`")
    lines = ["| setting | meaning | default |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        default = field.metadata["default"]
        shown = "required" if default is None else f"`{default}`" if default else "empty"
        lines.append(f"| `{field.metadata['variable']}` | {meanings[field.name]} | {shown} |")
    return "\n".join(lines) + "\n"


def with_generated_part(text: str, generated: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{generated}{END}{after}"


def test_the_settings_page_is_what_the_code_says():
    text = SETTINGS_PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text, settings_table()), (
        "write it again: .venv/bin/python -m tests.unit.test_docs"
    )


def routes() -> Iterator[str]:
    for file in (ROOT / "handlers").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "route":
                methods = next(word.value for word in node.keywords if word.arg == "methods")
                for method in ast.literal_eval(methods):
                    yield f"{method} /api/{ast.literal_eval(node.args[0])}"


def test_the_http_page_has_every_route():
    text = (REFERENCE / "http.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### `([A-Z]+ /api/[^`]+)`$", text, re.MULTILINE)) == set(routes())


def properties(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


def test_the_messages_page_has_every_property_of_the_schema():
    schema = json.loads((REFERENCE / "connection-request.schema.json").read_text(encoding="utf-8"))
    written = first_cells(REFERENCE / "messages.md", "### Properties")
    assert {name.rsplit(".", 1)[-1] for name in written} == set(properties(schema))


def test_the_messages_page_has_every_target_type_that_works():
    text = (REFERENCE / "messages.md").read_text(encoding="utf-8").split("\n### Target types\n", 1)[1]
    listed = text.strip().split("\n\n")[1]
    assert re.findall(r"`([^`]+)`", listed) == [row.name for row in catalogue().working]


def test_the_targets_page_is_what_the_catalogue_says():
    text = TARGETS_PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text, table() + "\n"), (
        "write it again: .venv/bin/python -m tests.unit.test_docs"
    )


def test_the_tables_page_has_every_table():
    text = (REFERENCE / "tables.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == set(rows.TABLES)


@pytest.mark.parametrize(
    "file", ["role.yaml", "role-prove.yaml", "role-sweep.yaml", "role-secrets-store.yaml"]
)
def test_the_permissions_page_has_every_verb_that_the_cluster_role_grants(file: str):
    role = yaml.safe_load((ROOT / "infra" / "kubernetes" / file).read_text(encoding="utf-8"))
    granted = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    written = {
        (resource, verb)
        for row in table_rows(REFERENCE / "permissions.md", f"### `{file}`")
        for resource in re.findall(r"`([^`]+)`", row[0])
        for verb in re.findall(r"`([^`]+)`", row[1])
    }
    assert written == granted


def test_the_permissions_page_has_every_action_that_the_roles_grant():
    text = (REFERENCE / "permissions.md").read_text(encoding="utf-8")
    written = set()
    for first, more in re.findall(r"`(Microsoft\.[\w./]+)`((?:, `/\w+`)*)", text):
        stem = first.rsplit("/", 1)[0]
        written |= {first, *(stem + ending for ending in re.findall(r"`(/\w+)`", more))}
    granted: set[str] = set()
    for file in (ROOT / "infra" / "roles").glob("*.json"):
        granted.update(json.loads(file.read_text(encoding="utf-8")).get("actions", ()))
    assert written == granted


def test_the_permissions_page_has_every_delegable_role_that_manages_more_than_it_reads():
    built_in = {role["name"]: role for role in json.loads((ROOT / "sandbox/arm/roles.json").read_text())}
    delegable = json.loads((ROOT / "infra/roles/delegable.json").read_text())["roles"]
    managing = {
        role["name"]: {
            action.removeprefix("Microsoft.")
            for action in built_in[role["id"]].get("actions", ())
            if not action.lower().endswith("/read")
        }
        for role in delegable
    }
    rows = table_rows(REFERENCE / "permissions.md", "#### Roles that manage, too")
    written = {name.strip("`"): set(re.findall(r"`([\w.]+/[^`]+)`", cell)) for name, cell in rows}
    assert written == {name: actions for name, actions in managing.items() if actions}


def test_the_admission_policy_is_applied_before_any_right_and_goes_after_all_of_them():
    """``kubectl`` lines of the pages that install and uninstall."""
    for page in (ROOT / "README.md", ROOT / "docs" / "deploying.md"):
        text = page.read_text(encoding="utf-8")
        first = text.index("infra/kubernetes/admission.yaml | kubectl apply -f -")
        assert first < text.index("kubectl apply -f infra/kubernetes/role.yaml")
        assert first < text.index("kubectl create rolebinding mooring ")
    text = (ROOT / "docs" / "runbooks" / "uninstall.md").read_text(encoding="utf-8")
    rights, policy = map(
        text.index, ("kubectl delete clusterrolebinding", "kubectl delete validatingadmission")
    )
    assert rights < policy


def test_the_permissions_page_names_what_the_admission_policy_looks_at():
    text = (REFERENCE / "permissions.md").read_text(encoding="utf-8").split("### `admission.yaml`\n", 1)[1]
    text = text.split("\n### ", 1)[0]
    manifest = (ROOT / "infra" / "kubernetes" / "admission.yaml").read_text(encoding="utf-8")
    for word in (*PROTECTED, "kubernetes.io/service-account.name", "mooring.dev/prove=on"):
        assert f"`{word}`" in text
        assert word.removesuffix("*") in manifest


def layers() -> list[set[str]]:
    """Modules of each layer that the import contract holds, the uppermost first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    written = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return [{name.strip().removeprefix("shared.") for name in layer.split("|")} for layer in written]


def test_every_module_of_the_product_is_in_a_layer():
    folder = ROOT / "shared"
    modules = {one.stem for one in folder.glob("*.py")} | {
        one.parent.name for one in folder.glob("*/__init__.py")
    }
    assert modules - {"__init__"} == set().union(*layers()) - {"handlers"}


def test_the_map_has_the_modules_of_the_layers_in_their_order():
    rows_of_map = [
        set(re.findall(r"`(?:shared/)?(\w+)(?:\.py|/)`", row[1])) - {"function_app"}
        for row in table_rows(ROOT / "CONTRIBUTING.md", "## The map")
        if row[0] not in {"layer", "folder"} and len(row) == 3
    ]
    found = layers()
    places = [next(index for index, layer in enumerate(found) if row <= layer) for row in rows_of_map]
    assert places == sorted(places)
    merged = [set[str]() for _ in found]
    for place, row in zip(places, rows_of_map, strict=True):
        merged[place] |= row
    assert merged == found


if __name__ == "__main__":
    for page, generated in ((SETTINGS_PAGE, settings_table()), (TARGETS_PAGE, table() + "\n")):
        page.write_text(with_generated_part(page.read_text(encoding="utf-8"), generated), encoding="utf-8")
