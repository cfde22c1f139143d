"""The server's settings: one frozen value, every field with a default and an environment variable `SEATKEEPER_…`.

Options of the command line win over the environment, which wins over the defaults. What a product is sold for is no setting:
that lies in the database.

>>> Settings(port=0).url_host
'127.0.0.1'
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, Self

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from seatkeeper_server.database_urls import check_database_url

CLOUD_PORT = 6500
LOCAL_PORT = 6501
DESKS = 2  # on PostgreSQL, in all workers together (decision 0016)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def cloud_folder() -> Path:
    """Give the folder in which a user's cloud server keeps its data unless told otherwise."""
    return user_data_path("seatkeeper", appauthor=False) / "cloud"


def local_folder() -> Path:
    """Give the folder in which a user's local license server keeps its data unless told otherwise."""
    return user_data_path("seatkeeper", appauthor=False) / "local"


class Settings(BaseSettings):
    """How one server runs. Build it with the options that were given; everything else comes from the environment."""

    model_config = SettingsConfigDict(
        env_prefix="SEATKEEPER_", env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    data: Annotated[Path, Field(description="the data directory; made on first start")] = Field(default_factory=cloud_folder)
    database: Annotated[
        SecretStr | None,
        Field(description="a PostgreSQL database, postgresql://USER@HOST/NAME; SQLite in the data directory unless named"),
    ] = None
    database_prepare: Annotated[
        bool,
        Field(description="whether PostgreSQL prepares statements; false behind a PgBouncer without max_prepared_statements"),
    ] = True
    desks: Annotated[
        int | None,
        Field(
            ge=1, le=64, description="batches decided side by side, PostgreSQL only; 2 unless said, shared among the workers"
        ),
    ] = None
    workers: Annotated[int, Field(ge=1, le=256, description="processes that answer requests, PostgreSQL only")] = 1
    host: Annotated[str, Field(min_length=1, description="the address to listen on; only this machine unless changed")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65_535, description="the TCP port; 0 takes a free one")] = CLOUD_PORT
    tls_cert: Annotated[Path | None, Field(description="the server's certificate chain, PEM")] = None
    tls_key: Annotated[Path | None, Field(description="the certificate's private key, PEM")] = None
    tls_client_ca: Annotated[Path | None, Field(description="admit only clients with a certificate of this authority, PEM")] = (
        None
    )
    trusted_proxies: Annotated[
        str, Field(description="addresses, comma-separated, whose X-Forwarded-For is believed; none unless named")
    ] = ""
    seal_key_file: Annotated[Path | None, Field(description="the sealing key; DATA/seal.key unless named")] = None
    contact: Annotated[str | None, Field(max_length=200, description="whom a refused user should ask")] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="the least that is logged")] = "info"
    queue_limit: Annotated[int, Field(ge=1, description="requests that may wait for the database")] = 4_096
    batch_limit: Annotated[int, Field(ge=1, description="requests made durable by one commit; 1 shows what that saves")] = 256
    desk_process: Annotated[
        bool | None,
        Field(
            description="whether each desk is a process of its own; unless said, on SQLite where there is a second processor"
        ),
    ] = None
    connection_limit: Annotated[int, Field(ge=1, description="open connections; further ones are answered 503")] = 8_192
    keep_alive: Annotated[int, Field(ge=1, description="seconds an idle connection is kept")] = 75
    stop_within: Annotated[int, Field(ge=1, description="seconds a stopping server waits for what is under way")] = 30
    failures_per_minute: Annotated[
        int, Field(ge=1, description="wrong codes a minute and address, before 429 is all they get")
    ] = 20
    metrics_pools: Annotated[int, Field(ge=1, description="entitlements with a metric of their own; the rest is summed")] = 200
    metrics_open: Annotated[bool, Field(description="whether everybody who can connect may read /metrics")] = False
    metrics_token: Annotated[
        SecretStr | None,
        Field(min_length=16, max_length=200, description="a bearer token with which other machines may read /metrics"),
    ] = None

    @field_validator("database")
    @classmethod
    def _database_is_a_url(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            check_database_url(given.get_secret_value())
        return given

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both: --tls-cert and --tls-key")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key: without TLS no client shows a certificate")
        return self

    @model_validator(mode="after")
    def _sqlite_has_one_server(self) -> Self:
        if self.database is not None:
            if self.workers > 1 and not hasattr(os, "fork"):
                raise ValueError("several workers need an operating system with fork")
        elif self.workers > 1:
            raise ValueError(
                "--workers needs PostgreSQL (--database): on SQLite one process answers and another one decides, which is as"
                " many as a file that is written by one at a time has work for"
            )
        elif (self.desks or 1) > 1:
            raise ValueError("SEATKEEPER_DESKS needs PostgreSQL (--database): on SQLite one writes at a time")
        return self

    @property
    def desk_count(self) -> int:
        """How many desks each process has."""
        if self.database is None:
            return 1
        return max(1, DESKS // self.workers) if self.desks is None else self.desks

    @property
    def has_desk_process(self) -> bool:
        """Whether each desk is a process of its own."""
        if sys.platform == "win32":
            return False  # it can't hand a socket to a process of its own
        if self.desk_process is not None:
            return self.desk_process
        return self.database is None and _processors() > 1  # beside PostgreSQL, whose processes do much of the work

    @property
    def seal_key_path(self) -> Path:
        """Where the sealing key lies."""
        return self.seal_key_file or self.data / "seal.key"

    @property
    def database_path(self) -> Path:
        """Where the database lies."""
        return self.data / "seatkeeper.db"

    @property
    def url_path(self) -> Path:
        """Where a server leaves the URL it listens on, so that `sell --env` beside it can name it."""
        return self.data / "server.url"

    @property
    def scheme(self) -> str:
        """`https` with TLS, else `http`."""
        return "http" if self.tls_cert is None else "https"

    @property
    def url_host(self) -> str:
        """The host as it is written in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_local_only(self) -> bool:
        """Whether only programs on this machine can connect."""
        return self.host in LOOPBACK


class LocalSettings(Settings):
    """How a local license server runs: the same, with a port and a folder of its own, and a console that people log in to.

    There is no default password: one that nobody gives is made on the first start.
    """

    data: Annotated[Path, Field(description="the data directory; made on first start")] = Field(default_factory=local_folder)
    port: Annotated[int, Field(ge=0, le=65_535, description="the TCP port; 0 takes a free one")] = LOCAL_PORT
    console_user: Annotated[
        str,
        Field(min_length=1, max_length=50, pattern="^[^:]*$", description="who may log in to the console of a local server"),
    ] = "admin"
    console_password: Annotated[
        SecretStr | None,
        Field(min_length=8, max_length=200, description="his password; one is made on the first start unless it is given"),
    ] = None
    console_password_file: Annotated[Path | None, Field(description="a file with that password, instead")] = None
    exchange_every: Annotated[
        int, Field(ge=1, le=86_400, description="seconds between exchanges with a vendor's server, when connected")
    ] = 300
    cloud_ca_file: Annotated[
        Path | None, Field(description="the authority of the vendor's server, PEM; the system's unless named")
    ] = None

    @model_validator(mode="after")
    def _password_comes_from_one_place(self) -> Self:
        if self.console_password is not None and self.console_password_file is not None:
            raise ValueError("give SEATKEEPER_CONSOLE_PASSWORD or SEATKEEPER_CONSOLE_PASSWORD_FILE, not both")
        return self

    @property
    def console_hash_path(self) -> Path:
        """Where the hash of a password lies that was made here."""
        return self.data / "console.hash"

    @property
    def first_password_path(self) -> Path:
        """Where a password that was made is written when there is no terminal to show it on."""
        return self.data / "console.password"


def _processors() -> int:
    """How many processors this process may use at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
