"""`seatkeeper verify`: whether facts, counters and seats say the same."""

from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import counted, print_json, say
from seatkeeper_server.cli._place import opened
from seatkeeper_server.service import verifying
from seatkeeper_server.service.verifying import Break, Verified


def verify(*, data: Data = None, database: Database = None, json: Json = False) -> int:
    """Walk every chain of facts, add the facts up, and compare with the counters and the seats; 1 if anything is off."""
    with opened(data, database) as place:
        found = verifying.verify(place.reader.read)
    if json:
        print_json(as_data(found))
    else:
        say(*as_lines(found))
    return DONE if found.holds else REFUSED


def as_lines(found: Verified) -> list[str]:
    """Say where it does not fit, then what was looked at."""
    verdict = "everything fits" if found.holds else f"{counted(len(found.breaks), 'place')} where it does not fit"
    counts = (counted(found.chains, "chain"), counted(found.facts, "fact"), counted(found.counters, "counter"))
    return [*map(_as_text, found.breaks), f"{', '.join(counts)}: {verdict}"]


def _as_text(one: Break) -> str:
    where = "the vendor's own chain" if one.chain_id == one.tenant_id else one.chain_id
    return f"{where}: {one.what}"


def as_data(found: Verified) -> dict[str, object]:
    """Give what was found, for programs."""
    return {
        "holds": found.holds,
        "chains": found.chains,
        "facts": found.facts,
        "counters": found.counters,
        "breaks": [
            {"tenantId": one.tenant_id, "chainId": one.chain_id, "number": one.number, "what": one.what} for one in found.breaks
        ],
    }
