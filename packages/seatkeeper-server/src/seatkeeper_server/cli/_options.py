"""Options that many verbs share, each with its environment variable."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[
    Path | None,
    Parameter(env_var="SEATKEEPER_DATA", help="The data directory; a folder of your own unless named.", show_default=False),
]
Database = Annotated[
    str | None,
    Parameter(
        env_var="SEATKEEPER_DATABASE",
        help="A PostgreSQL database, postgresql://USER@HOST/NAME; SQLite in the data directory unless named.",
        show_default=False,
    ),
]
Host = Annotated[
    str | None, Parameter(env_var="SEATKEEPER_HOST", help="The address to listen on; only this machine unless given.")
]
Workers = Annotated[
    int | None,
    Parameter(env_var="SEATKEEPER_WORKERS", help="How many processes answer requests; 1 unless given, more need PostgreSQL."),
]
TlsCert = Annotated[Path | None, Parameter(env_var="SEATKEEPER_TLS_CERT", help="The server's certificate chain, PEM.")]
TlsKey = Annotated[Path | None, Parameter(env_var="SEATKEEPER_TLS_KEY", help="Its private key, PEM.")]
TlsClientCa = Annotated[
    Path | None,
    Parameter(env_var="SEATKEEPER_TLS_CLIENT_CA", help="Admit only clients with a certificate of this authority, PEM."),
]
Json = Annotated[bool, Parameter(help="Print JSON, for programs.")]
Sold = Annotated[
    str, Parameter(help="Which: its id as `seatkeeper ls` shows it or the beginning of it, CUSTOMER, or CUSTOMER/PRODUCT.")
]


def typed(text: str) -> Parameter:
    """Give an option whose value is read by us, also when it begins with a hyphen: `-1s` is then refused in our own words."""
    return Parameter(help=text, allow_leading_hyphen=True)
