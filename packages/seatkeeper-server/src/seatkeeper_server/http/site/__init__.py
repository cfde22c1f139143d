"""The LLS API: what a site's administrator and his scripts call on the local license server.

The paths and fields that the public contract has are its own; what it lacks (the seats, usage reports) is ours.
"""

from fastapi import FastAPI

from seatkeeper_server.http.further import Office, further_application
from seatkeeper_server.http.site import connection, entitlements, history, license, seats
from seatkeeper_server.http.site.console import Console
from seatkeeper_server.http.site.ports import Borrows, Connects, Visit

__all__ = ["Borrows", "Connects", "Visit", "site"]


def site(office: Office[Visit], console: Console, upstream: Connects, *, ca_file: str | None = None) -> FastAPI:
    """Give the application that answers the LLS API; `ca_file` is the authority of vendors' servers."""
    return further_application(
        "Seatkeeper LLS API",
        license.router,
        entitlements.router,
        seats.router,
        history.router,
        connection.router,
        office=office,
        console=console,
        upstream=upstream,
        ca_file=ca_file,
    )
