"""`seatkeeper token`: documents between a vendor's server and local ones, carried by hand.

`apply` and `show` work on either side: to whom a token is sealed tells where it belongs. The vendor's side may be a server at a
distance (`apply --server`).
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter

from seatkeeper_server import statements, tokens
from seatkeeper_server.cli._failures import Unusable
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import json_moment, print_json, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.cli._remote import Server, either
from seatkeeper_server.cli.site import Out, claim, hand_out
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.delegation import Applied, TokenRefused, readable
from seatkeeper_server.service.grants import Grants
from seatkeeper_server.service.lending import Lending

File = Annotated[Path, Parameter(help="The file with the token; - for standard input.")]
Tenant = Annotated[
    str | None, Parameter(env_var="SEATKEEPER_TENANT", help="The vendor's id, where there are several.", show_default=False)
]
Vendor = Annotated[
    str | None, Parameter(env_var="SEATKEEPER_VENDOR", help="With --server: the vendor, by his id.", show_default=False)
]
Result = TypeVar("Result")

MOST = 1 << 20  # bytes of a file that may be a token


def request(
    *,
    code: Annotated[str, Parameter(env_var="SEATKEEPER_SITE_CODE", help="The activation code from `seatkeeper site code`.")],
    tenant: Annotated[str, Parameter(env_var="SEATKEEPER_TENANT", help="The vendor's id, from the same place.")],
    name: Annotated[str, Parameter(help="What this server is to be called, such as lab-1.")],
    out: Out = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """On a local server: ask the vendor for its license; print the token to carry to him."""
    claim(out)
    with opened(data, database, create=True) as place, place.transaction() as desk:
        token = _grants(place, desk).request(tenant, code, name)
    hand_out(token, out, "carry it to the vendor: seatkeeper token apply FILE", json=json)


def apply(
    file: File,
    /,
    *,
    out: Out = None,
    tenant: Vendor = None,
    server: Server = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Say what a token is, apply it, and print the token to carry back, if there is one.

    With --server: what a local server has made, on the vendor's server.
    """
    claim(out)
    token = read(file)

    def near() -> Applied:
        with opened(data, database) as place, place.transaction() as desk:
            return _applied(place, desk, token)

    applied = either(server, tenant, near=near, far=lambda vendor: vendor.apply(token))
    if json:
        print_json({"kind": applied.kind, "text": applied.text, "token": applied.reply})
        return
    print(f"seatkeeper: {applied.text}", file=sys.stderr)
    if applied.reply is not None:
        hand_out(applied.reply, out, "carry it back: seatkeeper token apply FILE", json=False)


def show(file: File, /, *, data: Data = None, database: Database = None, json: Json = False) -> None:
    """Say what a token is and what it says, without applying it; only where it belongs can it be read."""
    token = read(file)
    with opened(data, database) as place, place.transaction() as desk:
        said = _said(place, desk, token)
    facts = {
        "kind": str(type(said).__struct_config__.tag),
        "tenantId": said.tid,
        "localLicenseServerId": said.site or None,
        "tokenId": said.jti,
        "number": said.seq,
        "issuedAt": json_moment(_at(said.iat)),
    } | _more(said)
    if json:
        print_json(facts)
    else:
        width = max(map(len, facts))
        say(*(f"{name.ljust(width)}  {value}" for name, value in facts.items() if value is not None))


def remove(
    entitlement: Annotated[str, Parameter(help="The id of the entitlement that is given back.")],
    /,
    *,
    tenant: Tenant = None,
    out: Out = None,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """On a local server: give an entitlement back; print the token to carry to the vendor.

    Nothing more is served from it. Programs that hold a seat go on until their lease has ended; those count till then.
    """
    claim(out)
    with opened(data, database) as place, place.transaction() as desk:
        grants = _grants(place, desk)
        token = grants.remove(_vendor_of(grants, tenant), entitlement)
    hand_out(token, out, "carry it to the vendor: seatkeeper token apply FILE", json=json)


def report(*, tenant: Tenant = None, out: Out = None, data: Data = None, database: Database = None, json: Json = False) -> None:
    """On a local server: report what became of the seats; print the token to carry to the vendor."""
    claim(out)
    with opened(data, database) as place, place.transaction() as desk:
        grants = _grants(place, desk)
        token = grants.report(_vendor_of(grants, tenant))
    hand_out(token, out, "carry it to the vendor: seatkeeper token apply FILE", json=json)


def deactivate(
    *, tenant: Tenant = None, out: Out = None, data: Data = None, database: Database = None, json: Json = False
) -> None:
    """On a local server: give its license back; print the token to carry to the vendor."""
    claim(out)
    with opened(data, database) as place, place.transaction() as desk:
        grants = _grants(place, desk)
        token = grants.deactivate(_vendor_of(grants, tenant))
    hand_out(token, out, "carry it to the vendor: seatkeeper token apply FILE", json=json)


# --- helpers -------------------------------------------------------------------------------------------------------


def read(file: Path) -> str:
    """Read a token from a file, or from standard input.

    Raises:
        Unusable: the file can't be read.
    """
    try:
        raw = sys.stdin.buffer.read(MOST) if str(file) == "-" else file.read_bytes()[:MOST]
    except OSError as error:
        raise Unusable(f"{file} can't be read: {error.strerror or error}") from error
    return "".join(raw.decode("ascii", errors="replace").split())  # mail may have broken the line


def vendor_of(place: Place, tenant: str | None) -> str:
    """Give the vendor that is meant: the one that was named, or the only one.

    Raises:
        CannotDo: there is none, or there are several.
    """
    with place.transaction() as desk:
        return _vendor_of(_grants(place, desk), tenant)


def _grants(place: Place, desk: Desk) -> Grants:
    return Grants(desk.catalogue, place.vault(desk), now=desk.now, random=os.urandom)


def _vendor_of(grants: Grants, tenant: str | None) -> str:
    known = [license_.tenant_id for license_ in grants.licenses()]
    if tenant is not None or len(known) == 1:
        return tenant or known[0]
    if not known:
        raise CannotDo("this is no local license server, or has no license yet: see `seatkeeper token request --help`")
    raise CannotDo(f"this server has licenses from {len(known)} vendors: name one with --tenant: {', '.join(known)}")


def _is_ours(place: Place, desk: Desk, token: str) -> bool:
    """Whether a token is sealed to this local server."""
    if not desk.catalogue.sites.own_licenses():
        return False
    own = place.vault(desk).sealing_key("", desk.now)
    return readable(lambda: tokens.receiver_of(token)) == statements.sealing_kid(statements.public_text(own))


def _lendings(place: Place, desk: Desk) -> list[Lending]:
    vault = place.vault(desk)
    return [
        Lending(desk.catalogue, vault, tenant_id=tenant.tenant_id, now=desk.now, random=os.urandom)
        for tenant in desk.catalogue.tenants()
    ]


def _applied(place: Place, desk: Desk, token: str) -> Applied:
    if _is_ours(place, desk, token) or desk.catalogue.sites.own_licenses():
        return _grants(place, desk).apply(token)
    return _first(_lendings(place, desk), lambda lending: lending.apply(token))


def _said(place: Place, desk: Desk, token: str) -> statements.Said:
    if _is_ours(place, desk, token) or desk.catalogue.sites.own_licenses():
        return _grants(place, desk).read(token)
    return _first(_lendings(place, desk), lambda lending: lending.read(token))


def _first(lendings: list[Lending], ask: Callable[[Lending], Result]) -> Result:
    """Ask the vendor to whom a token belongs: the others can't open it."""
    refused: TokenRefused | None = None
    for lending in lendings:
        try:
            return ask(lending)
        except TokenRefused as error:
            if error.problem != "offline.wrongServer":
                raise
            refused = error
    raise refused or CannotDo("nothing has been sold here, and this is no local license server: see `seatkeeper --help`")


def _more(said: statements.Said) -> dict[str, object]:
    """Give what a document of its kind says."""
    match said:
        case statements.LicenseRequest():
            return {"name": said.name}
        case statements.LicenseGiven():
            return {"name": said.name, "vendor": said.vendor, "until": json_moment(_at(said.lease_ends_at))}
        case statements.GrantGiven():
            lent = {right.key or "seats": right.amount for right in said.snapshot.rights}
            what = {"product": said.snapshot.product, "customer": said.snapshot.customer, "lends": lent}
            return what | {"shareId": said.sid, "document": said.number, "until": json_moment(_at(said.until))}
        case statements.ShareRemoved():
            return {"shareId": said.sid, "stillBelievedIn": [still.rights for still in said.out]}
        case statements.Reported():
            return {"state": said.state, "entitlements": len(said.uses)}
        case _:
            return {}


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
