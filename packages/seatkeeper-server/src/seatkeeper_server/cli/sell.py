"""`seatkeeper sell`: everything a customer needs to start, in one command."""

import os
import shlex
from typing import Annotated, Literal

from cyclopts import Parameter

from seatkeeper_server.cli._failures import Mistyped, wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Json, typed
from seatkeeper_server.cli._output import day, in_overdraft, print_json, say
from seatkeeper_server.cli._place import opened, refuse_local
from seatkeeper_server.domain.catalogue import (
    DEFAULT_VENDOR,
    NEVER,
    Sale,
    Sold,
    Terms,
    read_borrowing,
    read_feature,
    read_overdraft,
)
from seatkeeper_server.domain.intervals import read_interval
from seatkeeper_server.domain.quoting import quoted
from seatkeeper_server.domain.terms import Mode, NoncePolicy
from seatkeeper_server.service import selling
from seatkeeper_server.settings import Settings

DEFAULT_SERVER = "http://127.0.0.1:6500"


def sell(
    customer: Annotated[str, Parameter(help="Who buys.")],
    product: Annotated[str, Parameter(help="What is bought.")],
    /,
    *,
    seats: Annotated[int, Parameter(help="How many may hold a seat at once.")],
    lease: Annotated[str, typed("How long a seat stays held without a refresh, such as 90s, 15m, 12h.")] = "2m",
    linger: Annotated[str, typed("The shortest time a seat stays taken after it was given back.")] = "0s",
    overdraft: Annotated[str, typed("What is granted above: 10%, 5, none or unlimited.")] = "none",
    mode: Annotated[
        Literal["concurrent", "nodeLock"], Parameter(help="nodeLock: a place stays its holder's after its lease.")
    ] = "concurrent",
    feature: Annotated[
        tuple[str, ...],
        Parameter(
            help="A feature: export=bool, render=elementPool:10, render=elementPool:10+10%, pages=usageCount:500. Repeatable.",
            negative=(),
            show_default=False,
        ),
    ] = (),
    days: Annotated[str, typed("For how many days, or never for no end.")] = "365",
    nonce: Annotated[
        Literal["optional", "required"], Parameter(help="Whether programs must use nonces; optional lets curl work.")
    ] = "optional",
    borrow: Annotated[
        str, typed("For how long a laptop may take a seat home, and how many at once, such as 14d or 14d:5; none: not at all.")
    ] = "none",
    tenant: Annotated[str, Parameter(env_var="SEATKEEPER_VENDOR", help="The vendor who sells, by name.")] = DEFAULT_VENDOR,
    contact: Annotated[
        str | None,
        Parameter(help="Whom refused users of this vendor should ask; of a known vendor: seatkeeper vendor --contact."),
    ] = None,
    another: Annotated[
        bool, Parameter(help="Sell it although this customer has this product, or another one has nearly this name.")
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
    env: Annotated[bool, Parameter(help="Print lines to paste into a shell.")] = False,
) -> None:
    """Sell seats of a product to a customer, and print what his programs need: keep the activation code secret."""
    if json and env:
        raise Mistyped("choose one of --json and --env")
    with wrong_values_told():
        terms = Terms(
            seats=seats,
            lease=read_interval(lease),
            linger=read_interval(linger),
            overdraft=read_overdraft(overdraft),
            mode=Mode(mode),
            features=tuple(read_feature(text) for text in feature),
            days=_read_days(days),
            nonce=NoncePolicy(nonce),
            borrow=read_borrowing(borrow),
        )
        sale = Sale(customer=customer, product=product, terms=terms, tenant=tenant, contact=contact, another=another)
    with opened(data, database, create=True) as place, place.transaction() as desk:
        refuse_local(desk)
        vault = place.vault(desk)
        sold = selling.sell(desk.catalogue, vault, sale, now=desk.now, starts_at=max(desk.now, desk.today), random=os.urandom)
    if json:
        print_json(as_data(sold))
    elif env:
        say(*as_environment(sold, os.environ.get("SEATKEEPER_SERVER") or _server_beside(place.settings)))
    else:
        say(*as_text(sold))


def _server_beside(settings: Settings) -> str:
    """Tell where the server of this data directory listens, or listened last, as seen from this machine."""
    try:
        return settings.url_path.read_text(encoding="ascii").strip().replace("//0.0.0.0:", "//127.0.0.1:")
    except OSError:
        return DEFAULT_SERVER


def _read_days(text: str) -> int | None:
    if text.strip().lower() == NEVER:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"days: write a number such as 365, or never, not {quoted(text)}")
    return int(text[:9])  # longer ones are too large, however they go on


def as_data(sold: Sold) -> dict[str, str]:
    """Give what a program needs, under the contract's names."""
    return {
        "tenantId": sold.tenant_id,
        "productId": sold.product_id,
        "entitlementId": sold.entitlement_id,
        "activationCode": sold.code,
        "publicKey": sold.public_key,
    }


def as_environment(sold: Sold, server: str) -> list[str]:
    """Give lines for a POSIX shell: what `seat run` and the SDK read."""
    settings = {
        "SERVER": server,
        "TENANT": sold.tenant_id,
        "PRODUCT": sold.product_id,
        "NAME": sold.product,
        "CODE": sold.code,
        "PUBLIC_KEY": sold.public_key,
    }
    lines = [f"export SEATKEEPER_{name}={shlex.quote(value)}" for name, value in settings.items()]
    return [f"# {sold.customer}: {sold.seats} x {sold.product}, until {day(sold.ends_at)}", *lines]


def as_text(sold: Sold) -> list[str]:
    """Give what a person wants to see."""
    return [
        f"{sold.customer} bought {sold.seats} x {sold.product}{in_overdraft(sold.overdraft)}, until {day(sold.ends_at)}",
        f"tenant           {sold.tenant_id}  ({sold.tenant})",
        f"product          {sold.product_id}",
        f"entitlement      {sold.entitlement_id}",
        f"activation code  {sold.code}",
        f"public key       {sold.public_key}",
    ]
