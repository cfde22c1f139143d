"""The token endpoint: an API client shows its id and secret, and gets an access token (OAuth 2.0, client credentials).

The realm is a tenant's id or its name. Errors are those that clients of such endpoints expect (RFC 6749, section 5.2), and an
unknown realm is 404. Wrong secrets are counted like wrong codes.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from typing import Final
from urllib.parse import parse_qs, unquote_plus

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seatkeeper_server.http.further import in_state, response_of
from seatkeeper_server.http.further import router as new_router
from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.problems import problem_answer, retry_after
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.http.vendor.guard import LASTS, OfficeHere, token_for
from seatkeeper_server.http.vendor.ports import Visit
from seatkeeper_server.service import clients
from seatkeeper_server.service.clients import ApiClient

MOST_FIELDS: Final = 20  # of a form
LONGEST: Final = 200  # characters of an id or a secret that can be one

_NOT_STORED: Final = {"cache-control": "no-store", "pragma": "no-cache"}

log = structlog.get_logger("seatkeeper.http")

router = new_router()


@router.post("/realms/{realm}/protocol/openid-connect/token")
async def token(realm: str, request: Request, office: OfficeHere) -> Response:
    """Give an access token for a client id and its secret."""
    tenants: Tenants = in_state(request, "tenants")
    tenant_id = await run_in_threadpool(office.read, lambda visit: _tenant(visit, realm))
    if tenant_id is None:
        return _refused(404, "Realm does not exist")
    form = _form(await request.body())
    if form.get("grant_type") != "client_credentials":
        return _refused(400, "unsupported_grant_type" if "grant_type" in form else "invalid_request")
    client_id, secret = _credentials(request, form)
    client = await run_in_threadpool(office.read, lambda visit: _proven(visit, tenant_id, client_id, secret))
    if client is None:
        return _unknown(request, tenant_id)
    keys = await tenants.keys(tenant_id)
    if keys is None:
        return _refused(404, "Realm does not exist")
    body = {"access_token": token_for(client, keys), "token_type": "Bearer", "expires_in": LASTS}
    return JSONResponse(body, headers=_NOT_STORED)


def _tenant(visit: Visit, realm: str) -> str | None:
    return next((each.tenant_id for each in visit.catalogue.tenants() if realm in (each.tenant_id, each.name)), None)


def _proven(visit: Visit, tenant_id: str, client_id: str, secret: str) -> ApiClient | None:
    if not (0 < len(client_id) <= LONGEST and 0 < len(secret) <= LONGEST):
        return None
    return clients.proven(visit.clients, visit.vault, tenant_id, client_id, secret)


def _form(body: bytes) -> dict[str, str]:
    """Read a form; of a field that is there twice, the first."""
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Give id and secret, from the form or from HTTP Basic, in which both are encoded like a form's (RFC 6749, 2.3.1)."""
    if "client_id" in form and "client_secret" in form:
        return form["client_id"], form["client_secret"]
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return form.get("client_id", ""), ""
    try:
        client_id, _, secret = b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (NotBase64, UnicodeDecodeError):
        return "", ""
    return unquote_plus(client_id), unquote_plus(secret)


def _unknown(request: Request, tenant_id: str) -> Response:
    failures: Failures = in_state(request, "failures")
    address = request.client.host if request.client else None
    if (wait := failures.count(address)) is not None:
        return response_of(problem_answer("rate.limited", headers=[retry_after(wait)]))
    log.info("api_client.unknown", tenant=tenant_id, address=address)
    return _refused(401, "invalid_client")


def _refused(status: int, error: str) -> Response:
    headers = {**_NOT_STORED, "www-authenticate": "Basic"} if status == 401 else _NOT_STORED
    return JSONResponse({"error": error}, status, headers=headers)
