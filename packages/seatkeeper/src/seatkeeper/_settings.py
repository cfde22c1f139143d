"""Where an application finds its settings, and in which order (contract, last section).

    trust   tenant, product, public key        code, then file, then environment: a customer can't swap the vendor's key
    place   server, code, CA file, contact …   environment, then file, then code: he can point it at his own server

Files are TOML: the user's (`seatkeeper.toml` in his configuration folder) before the site's (`/etc/seatkeeper/`, or
`%PROGRAMDATA%\\Seatkeeper\\`). A table with the product's name comes before the top level, and `SEATKEEPER_SOLVER_SERVER`
before `SEATKEEPER_SERVER`, since vendors share machines. A variable ending in `_FILE` names a file with the value.

    server = "27000@licenses.example,27000@spare.example"      # or a URL
    contact = "licenses@example.com"
    [solver]
    code = "…"
"""

import logging
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from seatkeeper.errors import ConfigurationError
from seatkeeper.protocol.codes import is_mistyped, last_four
from seatkeeper.protocol.envelopes import EnvelopeError, read_public_key
from seatkeeper.protocol.text import visible

FILE_NAME: Final = "seatkeeper.toml"
HINT: Final = "`seatkeeper sell … --env` prints all settings"

log = logging.getLogger("seatkeeper")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that is needed to ask for a seat; `servers` are base URLs, asked in this order."""

    tenant: str
    product: str
    servers: tuple[str, ...]
    code: str
    roots: tuple[Ed25519PublicKey, ...] = ()
    name: str | None = None
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    contact: str | None = None


@dataclass(frozen=True)
class Given:
    """What the application's code says; None where it leaves the choice to file and environment."""

    product: str | None = None
    tenant: str | None = None
    public_key: str | Sequence[str] | None = None
    server: str | None = None
    code: str | None = None
    name: str | None = None
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    contact: str | None = None
    insists: bool = False  # before everything else, as a command line does


KEYS: Final = tuple(field.name for field in fields(Given) if field.name != "insists")  # what a file may say


@dataclass(frozen=True)
class Sources:
    """Code, environment and files, each asked in the order its kind of setting demands."""

    given: Given
    environment: Mapping[str, str]
    files: tuple[Mapping[str, Any], ...]  # Any: whatever TOML holds; `_check` looks at what is ours
    name: str | None = None

    def trust(self, key: str) -> str | None:
        """Find a setting that the vendor decides."""
        return self._code(key) or self._file(key) or self._environment(key)

    def place(self, key: str) -> str | None:
        """Find a setting that the customer may decide."""
        if self.given.insists and self._code(key):
            return self._code(key)
        return self._environment(key) or self._file(key) or self._code(key)

    def _code(self, key: str) -> str | None:
        found = getattr(self.given, key)
        return found if found is None or isinstance(found, str) else ",".join(found)

    def _file(self, key: str) -> str | None:
        for content in self.files:
            for table in (content.get(self.name) if self.name else None, content):
                if isinstance(table, Mapping) and table.get(key):
                    return str(table[key])
        return None

    def _environment(self, key: str) -> str | None:
        for variable in self.variables(key):
            if self.environment.get(variable):
                return self.environment[variable].strip()
            if self.environment.get(f"{variable}_FILE"):
                return _content(variable, self.environment[f"{variable}_FILE"])
        return None

    def variables(self, key: str) -> list[str]:
        """Give the variables that may hold a setting, the product's own first."""
        own = re.sub(r"[^A-Z0-9]", "_", (self.name or "").upper())
        return ([f"SEATKEEPER_{own}_{key.upper()}"] if own else []) + [f"SEATKEEPER_{key.upper()}"]


def find_settings(
    given: Given,
    *,
    environment: Mapping[str, str] = os.environ,
    files: Iterable[Path] | None = None,
    trusting: bool = True,
) -> Settings:
    """Find all settings; with `trusting=False`, for calls whose answers are not signed, a public key is not needed.

    Raises:
        ConfigurationError: something is missing or can't be read. Nothing has been sent.
    """
    found = {path: _read(path) for path in (files if files is not None else settings_files()) if _is_there(path)}
    contents = tuple(found.values())
    unnamed = Sources(given, environment, contents, given.name)
    product = unnamed.trust("product")
    name = given.name or unnamed.trust("name")
    for path, content in found.items():
        _check(content, path)
        _check(content.get(name or product or ""), path)
    sources = Sources(given, environment, contents, name or product)
    needed = _all_there(
        product=product,
        tenant=sources.trust("tenant"),
        server=sources.place("server"),
        code=sources.place("code"),
        **({"public_key": sources.trust("public_key")} if trusting else {}),
    )
    return Settings(
        tenant=needed["tenant"],
        product=needed["product"],
        roots=read_roots(needed["public_key"]) if trusting else (),
        servers=read_servers(needed["server"]),
        code=_well_typed(needed["code"]),
        name=name,
        ca_file=sources.place("ca_file"),
        client_cert_file=sources.place("client_cert_file"),
        client_key_file=sources.place("client_key_file"),
        contact=sources.place("contact"),
    )


def settings_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Give the files that may hold settings, the user's first; they need not exist."""
    from platformdirs import user_config_path

    if sys.platform == "win32":
        site = Path(environment.get("PROGRAMDATA", r"C:\ProgramData")) / "Seatkeeper"
    else:
        site = Path("/etc/seatkeeper")
    return [user_config_path("seatkeeper", appauthor=False) / FILE_NAME, site / FILE_NAME]


def read_servers(text: str) -> tuple[str, ...]:
    """Give the base URLs in a server setting: URLs and `port@host`, separated by commas.

    >>> read_servers("27000@one.example,https://two.example/")
    ('http://one.example:27000', 'https://two.example')

    Raises:
        ConfigurationError: one of them is neither.
    """
    servers = tuple(_server(part.strip()) for part in text.split(",") if part.strip())
    if not servers:
        raise ConfigurationError("the server setting is empty; write a URL or port@host")
    return servers


def read_roots(text: str) -> tuple[Ed25519PublicKey, ...]:
    """Give the public keys to pin: one, or two with a comma while a root is being replaced.

    Raises:
        ConfigurationError: one of them is no public key.
    """
    try:
        return tuple(read_public_key(part) for part in text.split(","))
    except EnvelopeError as error:
        raise ConfigurationError(f"public_key: {error}") from error


def _server(text: str) -> str:
    port, at, host = text.partition("@")
    if at and port.isdecimal() and "/" not in host:
        bare = f"[{host}]" if ":" in host and not host.startswith("[") else host
        text = f"http://{bare}:{port}"
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"server {text!r} is neither a URL (https://licenses.example) nor port@host (27000@licenses.example)"
        )
    return text.rstrip("/")


def _all_there(**values: str | None) -> dict[str, str]:
    """Give the settings that nobody can do without, or say at once which of them are missing."""
    missing = [key for key, value in values.items() if not value]
    if missing:
        names, variables = ", ".join(key.replace("_", " ") for key in missing), ", ".join(_variable(key) for key in missing)
        arguments = ", ".join(f"{key}=…" for key in missing)
        raise ConfigurationError(f"no {names}: pass {arguments} or set {variables} ({HINT})")
    return {key: value for key, value in values.items() if value}


def _variable(key: str) -> str:
    return f"SEATKEEPER_{key.upper()}"


def _well_typed(code: str) -> str:
    """Give an activation code, unless it is one of ours with a wrong character; a vendor's own are sent as they are."""
    if is_mistyped(code):
        raise ConfigurationError(
            f"the activation code …{last_four(code)} is mistyped: a character is wrong, or two have changed places;"
            " compare it with what the vendor sent"
        )
    return code


def _content(variable: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}_FILE: {path} can't be read: {error}") from error


def _is_there(path: Path) -> bool:
    """Tell whether there is a file that concerns this user; a folder he may not look into doesn't."""
    try:
        return path.is_file()
    except OSError:
        return False


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} can't be read: {error}") from error


def _check(table: object, path: Path) -> None:
    """Tell of keys that are no settings; a value of the wrong kind stops us, for the setting was meant.

    The tables of other products are none of our business.
    """
    for key, value in table.items() if isinstance(table, Mapping) else ():
        if key in KEYS and (not isinstance(value, str | int) or isinstance(value, bool)):
            kind = type(value).__name__  # and not the value, which may be a code
            raise ConfigurationError(f'the settings file {path}: {key} must be text, as in {key} = "…", not a {kind}')
        if key not in KEYS and not isinstance(value, Mapping):
            log.warning("settings.unknown-key file=%s key=%s known=%s", path, visible(key), ",".join(KEYS))
