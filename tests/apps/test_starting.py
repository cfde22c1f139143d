"""What a server that is just starting does without."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("kind", ["cloud", "local"])
def test_the_framework_is_not_imported_before_it_is_needed(kind: str) -> None:
    """It takes as long to import as everything else together; who only serves seats never needs it."""
    names = "[name for name in ('fastapi',) if name in sys.modules]"
    code = f"import sys, seatkeeper_server.apps.{kind}; print({names})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
