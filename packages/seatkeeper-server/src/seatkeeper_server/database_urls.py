"""How a PostgreSQL database is named, and whether what somebody typed can be meant as it is written."""

URL_SCHEMES = ("postgresql://", "postgres://")


def is_postgres(address: str) -> bool:
    """Tell whether an address names a PostgreSQL database; else it is the path of a SQLite file."""
    return address.startswith(URL_SCHEMES)


def check_database_url(url: str) -> None:
    """See that a PostgreSQL URL can be meant as it is written.

    libpq's own messages quote what they don't understand, and it takes an unescaped character of a password for the end of it:
    the rest would be shown as the name of a host. So neither is let through.

    Raises:
        ValueError: what is wrong, without a word of the URL.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    if not is_postgres(url):
        raise ValueError("write postgresql://USER@HOST/NAME, or nothing for SQLite in the data directory")
    try:
        told = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error:
        raise ValueError(_UNREADABLE) from None
    hosts = [host for host in told.get("host", "").split(",") if not host.startswith("/")]
    ports = [port for port in told.get("port", "").split(",") if port]
    if any(set(host) & set("@/") for host in hosts) or "@" in told.get("dbname", "") or not all(map(str.isdecimal, ports)):
        raise ValueError(_UNREADABLE)


_UNREADABLE = "it can't be read as a URL: in a password, write %40 for @, %2F for /, %3A for :, %3F for ?, %23 for #, %25 for %"
