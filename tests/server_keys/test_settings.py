"""The server's settings: defaults, the environment, and what can't be meant."""

import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from seatkeeper_server.settings import Settings, cloud_folder


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    """No setting of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("SEATKEEPER_"):
            monkeypatch.delenv(name)


def test_nothing_needs_to_be_set():
    """This machine only, port 6500, no TLS, a folder of the user's own."""
    settings = Settings()

    assert (settings.host, settings.port, settings.scheme, settings.is_local_only) == ("127.0.0.1", 6500, "http", True)
    assert settings.data == cloud_folder()
    assert settings.seal_key_path == settings.data / "seal.key"


def test_every_field_has_a_variable_of_its_name(monkeypatch):
    """`SEATKEEPER_` and the field's name; an empty one is none."""
    monkeypatch.setenv("SEATKEEPER_DATA", "/srv/seats")
    monkeypatch.setenv("SEATKEEPER_PORT", "7000")
    monkeypatch.setenv("SEATKEEPER_HOST", "")
    monkeypatch.setenv("SEATKEEPER_SEAL_KEY_FILE", "/run/credentials/seal")
    settings = Settings()

    assert (settings.data, settings.port, settings.host) == (Path("/srv/seats"), 7000, "127.0.0.1")
    assert settings.seal_key_path == Path("/run/credentials/seal")


def test_options_win_over_the_environment(monkeypatch):
    """What was said last, and for this run only, counts."""
    monkeypatch.setenv("SEATKEEPER_PORT", "7000")

    assert Settings(port=0).port == 0


def test_settings_are_frozen():
    """Nobody changes them on the way."""
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65_536},
        {"port": -1},
        {"tls_cert": "a.pem"},
        {"tls_key": "a.pem"},
        {"tls_client_ca": "ca.pem"},
        {"queue_limit": 0},
        {"metrics_token": "guessed"},
        {"log_level": "loud"},
        {"no_such_setting": 1},
    ],
)
def test_what_can_not_be_meant_is_refused(wrong):
    """Half a TLS, ports that don't exist, misspelt names."""
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_the_token_of_the_metrics_is_not_shown():
    """Settings may be logged or printed."""
    assert "prometheus-reads-here" not in repr(Settings(metrics_token="prometheus-reads-here"))


@pytest.mark.parametrize(
    ("processors", "told", "has_one"), [(2, None, True), (1, None, False), (1, True, True), (2, False, False)]
)
def test_the_desk_is_a_process_where_there_is_a_processor_for_it(monkeypatch, processors, told, has_one):
    """Unless it is said otherwise."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)), raising=False)

    assert Settings(desk_process=told).has_desk_process is has_one


def test_the_desk_is_never_a_process_on_windows(monkeypatch):
    """There no socket can be handed to a child."""
    monkeypatch.setattr(sys, "platform", "win32")

    assert not Settings(desk_process=True).has_desk_process
