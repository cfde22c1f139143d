"""`seatkeeper local` as a process: its first password, its start line, and that it keeps both to itself."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.servers import BIN, clean_environment

PATIENCE = 20


@contextmanager
def local(data: Path, *options: str, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A local server as a process; its URL, and the process."""
    command = [BIN / "seatkeeper", "local", "--data", data, "--port", "0", *options]
    with data.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(command, env=clean_environment(**environment), stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("seatkeeper local: http"), data.with_suffix(".log").read_text()
        yield line.split()[2], process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def status(url: str, password: str) -> int:
    """Ask how the license stands."""
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as client:
        path = f"{url}/api/v1/lls/seats"
        return client.get(path, auth=("admin", password), headers={"N-TenantId": "t_1"}).status_code


def test_the_first_password_is_in_a_file_where_there_is_no_terminal(tmp_path: Path) -> None:
    """Standard output names the file, the log nothing; after a restart the password is the same, and not told again."""
    data = tmp_path / "site"
    with local(data) as (url, process):
        assert process.stdout is not None
        said = process.stdout.readline()
        password = (data / "console.password").read_text().strip()
        first = status(url, password), status(url, "admin")
    (data / "console.password").unlink()
    with local(data) as (url, process):
        again = status(url, password)

    assert str(data / "console.password") in said
    assert password not in said + data.with_suffix(".log").read_text()
    assert (first, again, (data / "console.password").exists()) == ((200, 401), 200, False)


def test_a_password_that_is_given_is_the_one(tmp_path: Path) -> None:
    """By the environment; none is made."""
    data = tmp_path / "site"
    with local(data, SEATKEEPER_CONSOLE_PASSWORD="a long password") as (url, _):
        assert (status(url, "a long password"), status(url, "another")) == (200, 401)
    assert not (data / "console.hash").exists()
