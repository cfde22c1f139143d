"""The Management API: what a vendor's own systems call, once the token endpoint has given them a token.

The paths, fields and success codes are those of the public contract (`reference/zentitle2-endpoints.json`); what it lacks is
added as optional fields and new paths.
"""

from collections.abc import Callable

from fastapi import FastAPI

from seatkeeper_server.http.further import Office, further_application
from seatkeeper_server.http.identity import Failures
from seatkeeper_server.http.tenants import Tenants
from seatkeeper_server.http.vendor import account, clients, entitlements, exchange, groups, realms, sites, usage
from seatkeeper_server.http.vendor.guard import Guard
from seatkeeper_server.http.vendor.ports import Lends, Visit

__all__ = ["Lends", "Visit", "management"]


def management(office: Office[Visit], tenants: Tenants, failures: Failures, *, random: Callable[[int], bytes]) -> FastAPI:
    """Give the application that answers the token endpoint and the Management API."""
    return further_application(
        "Seatkeeper Management API",
        realms.router,
        account.router,
        clients.router,
        exchange.router,
        sites.router,
        groups.router,  # before entitlements, among whose ids `groups` would be one
        entitlements.router,
        usage.router,
        office=office,
        guard=Guard(office, tenants),
        tenants=tenants,
        failures=failures,
        random=random,
    )
