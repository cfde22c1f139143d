"""What people mistype with tokens: it is refused in words, and the next try goes as if nothing had been."""

import json
from pathlib import Path

from tests.support.servers import seatkeeper


def test_a_token_that_can_not_be_written_was_not_made(tmp_path: Path) -> None:
    """The file is looked at first: a request that was not written licenses nobody, and comes in again."""
    vendor, site, asked = str(tmp_path / "vendor"), str(tmp_path / "site"), str(tmp_path / "asked.token")
    nowhere = str(tmp_path / "nowhere" / "answer.token")
    seatkeeper("sell", "acme", "solver", "--seats", "5", "--data", vendor)
    code = json.loads(seatkeeper("site", "code", "--json", "--data", vendor).stdout)
    who = ("--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab")
    seatkeeper("token", "request", *who, "-o", asked, "--data", site)

    lost = seatkeeper("token", "apply", asked, "-o", nowhere, "--data", vendor)
    answer = seatkeeper("token", "apply", asked, "-o", str(tmp_path / "answer.token"), "--data", vendor)

    assert (lost.returncode, answer.returncode) == (3, 0)
    assert "nothing was changed" in lost.stderr


def test_only_the_vendor_changes_what_was_lent(tmp_path: Path) -> None:
    """On a local server's data nothing is sold or changed."""
    vendor, site, asked = str(tmp_path / "vendor"), str(tmp_path / "site"), str(tmp_path / "asked.token")
    code = json.loads(seatkeeper("site", "code", "--json", "--data", vendor).stdout)
    who = ("--code", code["activationCode"], "--tenant", code["tenantId"], "--name", "lab")
    seatkeeper("token", "request", *who, "-o", asked, "--data", site)

    sold = seatkeeper("sell", "acme", "solver", "--seats", "5", "--data", site)
    changed = seatkeeper("change", "acme/solver", "--seats", "9", "--data", site)

    for done in (sold, changed):
        assert done.returncode == 1
        assert "only the vendor changes what was lent" in done.stderr
