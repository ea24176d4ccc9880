"""``python -m sandbox classify``: the product's parser on files, one JSON line for each event."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/Acc"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/l"
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"


def event(subject: str = ACCOUNT, kind: str = DELETED, **data: Any) -> dict[str, Any]:
    return {
        "topic": f"/subscriptions/{SUBSCRIPTION}",
        "subject": subject,
        "eventType": kind,
        "id": "e",
        "data": {"resourceUri": subject, **data},
    }


@pytest.fixture
def classify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*bodies: Any, options: tuple[str, ...] = (), code: int = 0) -> list[dict[str, Any]]:
        files = []
        for number, body in enumerate(bodies):
            if isinstance(body, Path):
                files.append(str(body))
                continue
            file = tmp_path / f"{number}.json"
            file.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
            files.append(str(file))
        assert main(["classify", *options, *files]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def test_a_deletion_is_a_candidate_with_its_folded_id_and_type(classify: Any, tmp_path: Path):
    assert classify(event()) == [
        {
            "file": str(tmp_path / "0.json"),
            "index": 0,
            "decision": "candidate",
            "resourceId": ACCOUNT.lower(),
            "resourceType": "microsoft.storage/storageaccounts",
            "reason": "deleted",
        }
    ]


def test_a_linker_that_was_written_is_ignored_here_and_says_so(classify: Any):
    [line] = classify(event(LINKER, "Microsoft.Resources.ResourceWriteSuccess"))
    assert (line["decision"], line["reason"]) == ("ignored", "linker-written")


@pytest.mark.parametrize(
    ("subject", "shown"),
    [(ACCOUNT, ACCOUNT.lower()), ("/subscriptions/nobody/x", ""), (f"{GROUP}/../x", ""), ("", "")],
)
def test_an_event_of_another_kind_shows_the_id_that_it_names_soundly(classify: Any, subject: str, shown: str):
    [line] = classify(event(subject, "Microsoft.Resources.ResourceDeleteFailure"))
    assert (line["decision"], line["reason"], line["resourceId"]) == ("ignored", "event-type", shown)


def test_each_event_of_each_file_has_its_line(classify: Any):
    text = json.dumps([event(), 7, event(f"{GROUP}/providers/A.B/c/d")]).encode()
    lines = classify([event()], base64.encodebytes(text), b"")
    assert [(Path(one["file"]).name, one["index"], one["decision"]) for one in lines] == [
        ("0.json", 0, "candidate"),
        ("1.json", 0, "candidate"),
        ("1.json", 1, "rejected"),
        ("1.json", 2, "ignored"),
        ("2.json", 0, "rejected"),
    ]


def test_a_file_that_cannot_be_opened_has_a_line_and_spoils_the_exit_code_only(classify: Any, tmp_path: Path):
    lines = classify(tmp_path / "missing", tmp_path, Path("a\0b"), event(), code=2)
    assert [(one["decision"], one["reason"]) for one in lines] == [
        ("rejected", "unreadable-file"),
        ("rejected", "unreadable-file"),
        ("rejected", "unreadable-file"),
        ("candidate", "deleted"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x00\xff\x7fELF" * 50, "not-json"),
        (b"[" + b" " * 68_000_000, "message-too-large"),
        (b"x" * 2_000_000, "message-too-large"),
        (b"[" * 100_000, "too-deep"),
        ("\ufeff".encode() + json.dumps(event()).encode(), "not-json"),
    ],
)
def test_what_cannot_be_parsed_is_one_rejected_line(classify: Any, body: bytes, reason: str):
    [line] = classify(body)
    assert (line["decision"], line["reason"], line["resourceId"]) == ("rejected", reason, "")


def test_a_full_batch_of_events_with_claims_has_a_line_for_each(classify: Any):
    claims = {"groups": "11111111-2222-3333-4444-555555555555," * 80}
    batch = [event(f"{ACCOUNT}{number}", claims=claims) for number in range(5000)]
    assert len(json.dumps(batch)) > 15_000_000
    lines = classify(batch)
    assert {one["decision"] for one in lines} == {"candidate"}
    assert [one["index"] for one in lines] == list(range(5000))


def test_a_record_of_a_zone_is_ignored_under_its_own_name(classify: Any):
    [line] = classify(event(f"{GROUP}/providers/Microsoft.Network/dnsZones/e.com/A/*"))
    assert (line["decision"], line["reason"]) == ("ignored", "resource-type")
    assert line["resourceType"] == "microsoft.network/dnszones/a"


def test_subscriptions_and_tenant_restrict_as_the_product_does(classify: Any):
    other = "99999999-2222-3333-4444-555555555555"
    assert (
        classify(event(), options=("--subscriptions", f"{other},{SUBSCRIPTION.upper()}"))[0]["decision"]
        == "candidate"
    )
    [line] = classify(event(), options=("--subscriptions", other))
    assert line["reason"] == "subscription-not-listed"
    assert classify(event(tenantId="t"))[0]["decision"] == "candidate"
    [line] = classify(event(tenantId=other), options=("--tenant", SUBSCRIPTION))
    assert line["reason"] == "tenant-mismatch"


@pytest.mark.parametrize("wrong", ["", "mine", f"{SUBSCRIPTION},x"])
def test_a_list_of_subscriptions_that_is_none_is_a_wrong_option(
    wrong: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(["classify", "--subscriptions", wrong, "x"])
    assert ended.value.code == 2
    assert "GUIDs" in capsys.readouterr().err


def test_the_command_imports_no_sdk_and_needs_nothing_running(tmp_path: Path):
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event()))
    program = (
        "import sys; from sandbox.__main__ import main; code = main(['classify', sys.argv[1]]); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'azure', 'kubernetes', 'aiohttp', 'cryptography'}, loaded; sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["decision"] == "candidate"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"sandbox {name}" in capsys.readouterr().out


def test_a_word_that_is_no_command_is_told_which_there_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "classify" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_fault():
    command = [sys.executable, "-m", "sandbox", "catalogue"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
