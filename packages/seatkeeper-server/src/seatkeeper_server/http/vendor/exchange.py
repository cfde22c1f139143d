"""Where local license servers call by themselves: they send a document of theirs, and are given what they need.

Nobody logs in here. A document shows by itself who has made it: it is signed by a server that was licensed, or sealed under an
activation code. It is looked at in a snapshot first, so that whoever sends something else holds nobody up, and how often he
may is counted like wrong codes.
"""

from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from seatkeeper_server.http.further import Document, in_state
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.identity import Failures, is_tenant_id
from seatkeeper_server.http.problems import ProblemError
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.http.vendor.documents import TokenAsked
from seatkeeper_server.http.vendor.guard import OfficeHere
from seatkeeper_server.http.vendor.ports import Exchanged
from seatkeeper_server.http.vendor.sites import PATH
from seatkeeper_server.service.catalogue import CannotDo

_UNKNOWN: Final = "The header N-TenantId is missing, or nobody of that id sells here."

log = structlog.get_logger("seatkeeper.http")

router = new_router()


class Answer(Document):
    """What a local server is told: what became of its document, whether it is believed, and what to apply, in order."""

    text: str
    state: str
    tokens: list[str]


@router.post(f"{PATH}/exchange")
async def exchange(asked: TokenAsked, request: Request, office: OfficeHere) -> Answer:
    """Apply what a local server has sent, and give what it needs."""
    tenants: Tenants = in_state(request, "tenants")
    tenant_id = request.headers.get("n-tenantid", "")
    if not is_tenant_id(tenant_id) or await tenants.keys(tenant_id) is None:
        raise _counted(request, ProblemError("credentials.unknown", _UNKNOWN))
    try:
        await run_in_threadpool(office.read, lambda visit: visit.lending(tenant_id).read(asked.token))
    except CannotDo as error:
        raise _counted(request, error) from error
    done: Exchanged = await run_in_threadpool(office.do, lambda visit: visit.lending(tenant_id).exchange(asked.token))
    return Answer(text=done.text, state=str(done.state), tokens=list(done.tokens))


def _counted(request: Request, refused: Exception) -> Exception:
    """Count a failure, and give what it is answered by."""
    failures: Failures = in_state(request, "failures")
    address = request.client.host if request.client else None
    log.info("exchange.refused", address=address, reason=getattr(refused, "problem", "credentials.unknown"))
    wait = failures.count(address)
    return refused if wait is None else ProblemError("rate.limited", retry_after=wait)
