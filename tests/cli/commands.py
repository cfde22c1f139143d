"""Runs the command line within this process: the same `main`, without waiting for an interpreter each time."""

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from seatkeeper_server.cli import main
from tests.support.servers import Finished, clean_environment


def command(*arguments: str | Path, **environment: str) -> Finished:
    """Run a verb to its end, as `tests.support.servers.seatkeeper` does in a process of its own."""
    out, err = StringIO(), StringIO()
    words = [str(word) for word in arguments]
    with patch.dict(os.environ, clean_environment(**environment), clear=True), redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return CompletedProcess(words, code, out.getvalue(), err.getvalue())
