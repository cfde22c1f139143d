"""The server's own log: for people on a terminal, for programs elsewhere, and for neither a secret."""

import io
import json
import logging
import sys

import pytest
import structlog

from seatkeeper_server.apps.process import log_to_stderr


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self):
        return True


@pytest.fixture(params=[Terminal, io.StringIO], ids=["terminal", "file"])
def stderr(request, monkeypatch):
    """Standard error while the log goes there; afterwards it goes where it went before."""
    before, handlers, level = structlog.get_config(), list(logging.root.handlers), logging.root.level
    monkeypatch.setattr(sys, "stderr", request.param())
    logging.root.handlers[:] = []
    log_to_stderr("info")
    yield sys.stderr
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_an_error_shows_where_it_happened_and_no_values(stderr):
    """Local variables hold codes and tokens: the stack is shown without them."""

    def fail(code):
        raise ZeroDivisionError("a bug of ours")

    try:
        fail("SECRET-" + "CODE")
    except ZeroDivisionError as error:
        structlog.get_logger("test").error("request.failed", exc_info=error)
    log = stderr.getvalue()

    assert all(word in log for word in ("request.failed", "a bug of ours", "in fail"))
    assert "SECRET-CODE" not in log


def test_libraries_log_in_the_same_format(stderr):
    """uvicorn's warnings look like our own: one format in one log."""
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    structlog.get_logger("test").warning("downtime.given_back")
    theirs, ours = stderr.getvalue().splitlines()

    if isinstance(stderr, Terminal):
        assert "uvicorn.error" in theirs
        assert theirs[:10] == ours[:10]
    else:
        assert json.loads(theirs).keys() == {*json.loads(ours), "logger"}


def test_what_a_client_sent_speaks_to_no_terminal(stderr):
    """Paths and ids of requests are logged; in a terminal what it would obey is shown as an escape, in JSON as its own."""
    structlog.get_logger("test").info("request", path="/a\x1b]0;title\x07b\u009b2J\u202e")
    log = stderr.getvalue()
    plain = log.replace("\x1b[", "")  # the renderer's own colours

    assert not any(character in plain for character in "\x1b\x07\x9b\u202e")
    assert "title" in log
