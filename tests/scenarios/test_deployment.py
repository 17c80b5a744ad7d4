"""The deployments in examples/server: what they say is what the tools take, and the processes work together."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import kubernetes.client
import pytest
import yaml

from notifykit import KeyRing
from notifykit import environment as names
from notifykit.cli.commands import build
from notifykit.testing import Receiver
from tests.databases import new_database
from tests.unit.cli.driving import wait_until
from tests.unit.cli.test_metrics import free_ports

FOLDER = Path(__file__).parents[2] / "examples" / "server"
if not FOLDER.is_dir():
    pytest.skip("needs examples/, which is not in the sdist", allow_module_level=True)
COMPOSE: Mapping[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if each["image"] == "notifykit"}
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "kubernetes" / "notifykit.yaml").read_text()))
UNITS = sorted((FOLDER / "systemd").glob("*.service"))


def _containers() -> list[dict[str, Any]]:
    return [
        container
        for each in MANIFESTS
        if each["kind"] in ("Deployment", "Job")
        for container in each["spec"]["template"]["spec"]["containers"]
    ]


def _commands() -> list[list[str]]:
    """Return every command line of ours, without the program."""
    of_units = [
        line.partition("=")[2].split()
        for unit in UNITS
        for line in unit.read_text().splitlines()
        if line.startswith(("ExecStart=", "ExecStartPre="))
    ]
    in_comments = [
        found.split()
        for path in (FOLDER / "compose.yaml", FOLDER / "kubernetes" / "notifykit.yaml")
        for found in re.findall(r"\b(notifykit (?:api-keys|keys) [\w -]+)", path.read_text())
    ]
    given = [
        *(each["command"] for each in OURS.values()),
        *(each["command"] for each in _containers()),
        *of_units,
        *in_comments,
    ]
    assert all(Path(program).name == "notifykit" for program, *_ in given)
    return [command[1:] for command in given]


# ── what the tools take ────────────────────────────────────────────────────────────────────────


def test_the_compose_file_is_one():
    """By the schema of the Compose Specification (compose-spec.json, as published, Apache-2.0)."""
    import jsonschema_rs

    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())

    assert [] == [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(dict(COMPOSE))]
    for name, service in COMPOSE["services"].items():
        needed = service.get("depends_on", {})
        assert needed.keys() <= COMPOSE["services"].keys(), name
        mounted = [volume.partition(":")[0] for volume in service.get("volumes", ())]
        for source in mounted:
            known = (FOLDER / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]
            assert known, source


def test_the_manifests_are_objects_of_kubernetes():
    """Each field is one of the API's, of the right type; selectors find their pods, and ports have their names."""
    deployments = [each for each in MANIFESTS if each["kind"] == "Deployment"]
    for manifest in MANIFESTS:
        group, _, version = manifest["apiVersion"].rpartition("/")
        assert [] == _wrong(manifest, f"V1{manifest['kind']}", manifest["kind"]), (group, version)
    for each in deployments:
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    for each in MANIFESTS:
        if each["kind"] in ("Service", "PodDisruptionBudget"):
            wanted = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
            assert [wanted] == [d["metadata"]["labels"] for d in deployments if d["metadata"]["labels"] == wanted]
    for container in _containers():
        ports = {port["name"] for port in container.get("ports", ())}
        probes = [container[name]["httpGet"]["port"] for name in container if name.endswith("Probe")]
        assert set(probes) <= ports


def _wrong(value: Any, kind: str, path: str) -> list[str]:
    """Return what of a value is not of a type of the Kubernetes API, as its client describes it."""
    if kind.startswith(("list[", "dict(")):
        inner = kind[5:-1].rpartition(", ")[2]
        if not isinstance(value, list if kind.startswith("list[") else dict):
            return [f"{path} is no {kind}"]
        items = enumerate(value) if isinstance(value, list) else value.items()
        return [wrong for at, each in items for wrong in _wrong(each, inner, f"{path}.{at}")]
    simple: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "object": (object,)}
    if kind in simple:
        return [] if isinstance(value, simple[kind]) else [f"{path} is no {kind}"]
    model = getattr(kubernetes.client, kind)
    fields = {json_name: model.openapi_types[name] for name, json_name in model.attribute_map.items()}
    if not isinstance(value, dict):
        return [f"{path} is no {kind}"]
    unknown = [f"{path}.{name} is unknown" for name in value.keys() - fields.keys()]
    known = [
        wrong
        for name, each in value.items()
        if name in fields
        for wrong in _wrong(each, fields[name], f"{path}.{name}")
    ]
    return unknown + known


def test_what_is_wrong_in_a_manifest_is_found():
    """The check above can fail."""
    bad = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicaz": 1, "replicas": "2", "template": {}}}

    assert ["Deployment.spec.replicaz is unknown", "Deployment.spec.replicas is no int"] == _wrong(
        bad, "V1Deployment", "Deployment"
    )


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_units(unit, tmp_path):
    """With a program where they expect it; ``systemd-analyze`` says what it does not know."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed")
    program = shutil.copy(shutil.which("true") or "/bin/true", tmp_path / "notifykit")
    copies = []
    for each in UNITS:
        text = each.read_text().replace("/opt/notifykit/bin/notifykit", str(program))
        copies.append(tmp_path / each.name)
        copies[-1].write_text(text)

    done = subprocess.run(
        [tool, "verify", "--man=no", tmp_path / unit.name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )

    assert ("", 0) == (done.stderr, done.returncode)


def test_every_command_line_is_one():
    """The program takes the arguments as they stand there."""
    commands = _commands()

    for command in commands:
        assert build().parse_args(command).handler, command
    assert {"migrate", "serve", "run", "api-keys", "keys"} == {command[0] for command in commands}


def test_every_variable_is_one_that_the_program_reads():
    """A misspelt one would be ignored silently."""
    found = {
        name
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix in (".yaml", ".yml", ".env", ".service", "")
        for name in re.findall(r"\bNOTIFYKIT_[A-Z_]+", path.read_text())
    }

    assert set() == found - set(names.VARIABLES)
    assert {names.URL, names.BROKER, names.KEYS, names.ENVIRONMENT, names.METRICS} <= found


def test_each_role_has_workers():
    """In Compose, in Kubernetes and under systemd; a role that nobody has would stop everything."""

    def roles(commands: list[list[str]]) -> set[str]:
        found = [build().parse_args(command).roles for command in commands if command[0] == "run"]
        return set().union(*({"plan", "relay", "send", "clean"} if each is None else each for each in found))

    every = {"plan", "relay", "send", "clean"}
    assert every == roles([each["command"][1:] for each in OURS.values()])
    assert every == roles([each["command"][1:] for each in _containers()])


# ── the processes of the Compose file ──────────────────────────────────────────────────────────


def _filled(value: str, variables: Mapping[str, str]) -> str:
    """Return a value with the variables of the shell, as Compose would."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda m: variables.get(m[1], m[3] if m[2] == "-" else ""), value)


@contextlib.contextmanager
def _running(command: list[str], env: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "notifykit", *command], env=dict(env), cwd=folder, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.mark.thorough
def test_the_processes_of_the_compose_file_deliver(postgres_url, redis_url, tmp_path):
    """Its commands and settings, without containers: a webhook is delivered, and the metrics count it."""
    port, keys = free_ports(), KeyRing.generate().text()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFYKIT_")}
    with new_database(postgres_url) as database, Receiver() as receiver, contextlib.ExitStack() as stack:

        def environment(service: str, number: int) -> dict[str, str]:
            given = {
                name: _filled(value, {"POSTGRES_PASSWORD": "x", "NOTIFYKIT_KEYS": keys})
                for name, value in OURS[service]["environment"].items()
            }
            assert given[names.URL].endswith("@postgres/notifykit")
            own = {names.URL: database, names.BROKER: f"{redis_url}?prefix=deploy"}
            own |= {names.METRICS: f"127.0.0.{number}:{port}", names.ALLOW: "127.0.0.0/8", names.ALLOW_HTTP: "1"}
            return {**kept, **given, **own}

        def called(*arguments: str) -> Any:
            done = subprocess.run(
                [sys.executable, "-m", "notifykit", *arguments, "--json"],
                env=environment("api", 1),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert 0 == done.returncode, done.stderr
            return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None

        called(*OURS["migrate"]["command"][1:])
        secret = called("api-keys", "create", "--tenant", "acme", "--role", "tenant_admin", "--name", "first")["secret"]
        number = 1
        for service, each in OURS.items():
            for _ in range(each.get("deploy", {}).get("replicas", 1)):
                if service != "migrate":
                    number += 1
                    arguments = [str(port + 1) if one == "8400" else one for one in each["command"][1:]]
                    stack.enter_context(_running(arguments, environment(service, number), tmp_path))
        headers = {"Authorization": f"Bearer {secret}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port + 1}", headers=headers, timeout=30) as client:

            def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/readyz").is_success
                return False

            wait_until(ready, "the API")
            made = client.post(
                "/v1/endpoints", json={"url": receiver.url, "secret": receiver.secret}
            ).raise_for_status()
            subscribed = {"event_types": ["order.*"], "endpoint_id": made.json()["endpoint"]["id"]}
            client.post("/v1/subscriptions", json=subscribed).raise_for_status()
            client.post("/v1/events", json={"type": "order.paid", "data": {"n": 1}}).raise_for_status()
            receiver.expect(1, timeout=60)
            metrics = [httpx.get(f"http://127.0.0.{at}:{port}/metrics").text for at in range(2, number + 1)]

    counted = [page for page in metrics if re.search(r'notifykit_attempts_total{.*outcome="accepted".*} 1\.0', page)]
    assert 1 == len(counted), (tmp_path / "log").read_text()
    assert 5 == len(metrics)
