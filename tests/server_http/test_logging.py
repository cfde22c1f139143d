"""The server's own log: for people on a terminal, for programs elsewhere, and for neither a secret."""

import io
import logging
import sys

import pytest
import structlog

from seatkeeper_server.apps.serving import log_to_stderr


class Terminal(io.StringIO):
    """Standard error as a person sees it."""

    def isatty(self):
        return True


@pytest.fixture(params=[Terminal, io.StringIO], ids=["terminal", "file"])
def stderr(request, monkeypatch):
    """Standard error while the log goes there; afterwards it goes where it went before."""
    before, handlers = structlog.get_config(), list(logging.root.handlers)
    monkeypatch.setattr(sys, "stderr", request.param())
    log_to_stderr("info")
    yield sys.stderr
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


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


def test_what_a_client_sent_speaks_to_no_terminal(stderr):
    """Paths and ids of requests are logged; in a terminal what it would obey is shown as an escape, in JSON as its own."""
    structlog.get_logger("test").info("request", path="/a\x1b]0;title\x07b\u009b2J\u202e")
    log = stderr.getvalue()
    plain = log.replace("\x1b[", "")  # the renderer's own colours

    assert not any(character in plain for character in "\x1b\x07\x9b\u202e")
    assert "title" in log
