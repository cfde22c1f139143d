"""A server as a service of systemd: what its unit file says. It writes no file and runs no command.

The unit names only what an installation decides: where the data lies, as whom it runs, where it listens, which files it is
handed. Every other setting stands in an environment file that only root can read, so that it survives an upgrade and no
password is in the unit. Files that only root may read (keys, passwords) are handed over as credentials.

>>> print(Service(role="cloud", program=Path("/opt/seatkeeper/bin/seatkeeper")).unit().splitlines()[0])
# Made by `seatkeeper service install`. Changes belong beside it: systemctl edit seatkeeper-cloud
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MADE_BY: Final = "# Made by `seatkeeper service install`."
STATE: Final = Path("/var/lib")
SETTINGS: Final = Path("/etc/seatkeeper")
FIRST_OPEN_PORT: Final = 1_024
_MEANT_AS_IT_STANDS: Final = re.compile(r"[\w./:@+,=~\[\]-]+", re.ASCII)  # systemd reads nothing else into these
_URL: Final = re.compile(r"[\w./:@+,=~\[\]?&%-]+", re.ASCII)  # into % it does, so that is doubled
_HIDDEN: Final = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108  (looked at, not used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A server under systemd. `role` is the verb that serves: its name, its data and its settings go by it.

    Raises:
        ValueError: something can't be written into a unit file, or can't work as it is wanted.
    """

    role: str
    program: Path
    data: Path | None = None
    user: str | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    console_user: str | None = None
    credentials: dict[str, Path] = field(default_factory=dict)  # by the setting that names the file

    def __post_init__(self) -> None:
        for told in (self.program, self.place, *self.credentials.values()):
            if not told.is_absolute():
                raise ValueError(f"{told}: a service needs whole paths, from / on")
        for text in (
            *map(str, (self.program, self.place, *self.credentials.values())),
            self.user,
            self.host,
            self.console_user,
        ):
            if text is not None and not _MEANT_AS_IT_STANDS.fullmatch(text):
                raise ValueError(f"{text!r}: in a unit file only letters, digits and . _ - / : @ + , = ~ stand for themselves")
        if self.database is not None and not _URL.fullmatch(self.database):
            raise ValueError("--database: write postgresql://USER@HOST/NAME, other characters as %20 and the like")
        if self.database is not None and _says_password(self.database):
            raise ValueError(f"every user can read a unit file: write SEATKEEPER_DATABASE=… into {self.settings_file} (0600)")
        if self.user is None and self.state is None:
            raise ValueError(f"{self.place} is outside {STATE}: name the user who owns it with --user, or leave --data out")

    @property
    def name(self) -> str:
        """What the service is called."""
        return f"seatkeeper-{self.role}"

    @property
    def place(self) -> Path:
        """The data directory."""
        return self.data or STATE / self.name

    @property
    def state(self) -> Path | None:
        """The data directory as systemd makes and owns it, seen from /var/lib; None if it lies elsewhere."""
        return self.place.relative_to(STATE) if self.place.is_relative_to(STATE) and self.place != STATE else None

    @property
    def settings_file(self) -> Path:
        """Where the other settings are read from, if it is there."""
        return SETTINGS / f"{self.role}.env"

    @property
    def out_of_sight(self) -> Path | None:
        """The directory that hides the program from the service; None if the service can see it."""
        return next((hidden for hidden in _HIDDEN if self.program.is_relative_to(hidden)), None)

    def unit(self) -> str:
        """Write the unit file."""
        return "\n".join(
            [
                f"{MADE_BY} Changes belong beside it: systemctl edit {self.name}",
                "[Unit]",
                f"Description=Seatkeeper license server ({self.role})",
                "After=network-online.target",
                "Wants=network-online.target",
                "# However long what it needs is away: it is tried again.",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                "Type=exec",
                f"ExecStart={self.program} {self.role}",
                *self._settings(),
                *self._whose(),
                *_LIFE,
                *self._fence(),
                "",
                "[Install]",
                "WantedBy=multi-user.target",
                "",
            ]
        )

    def _settings(self) -> Iterator[str]:
        yield f"Environment=SEATKEEPER_DATA={self.place}"
        told = {"HOST": self.host, "PORT": self.port, "DATABASE": self.database, "CONSOLE_USER": self.console_user}
        for name, value in told.items():
            if value is not None:
                yield f"Environment=SEATKEEPER_{name}={str(value).replace('%', '%%')}"
        for setting, file in self.credentials.items():
            credential = setting.removeprefix("SEATKEEPER_").removesuffix("_FILE").lower()
            yield f"LoadCredential={credential}:{file}"
            yield f"Environment={setting}=%d/{credential}"
        yield f"EnvironmentFile=-{self.settings_file}"

    def _whose(self) -> Iterator[str]:
        yield "DynamicUser=yes" if self.user is None else f"User={self.user}"
        if self.state is not None:
            yield f"StateDirectory={self.state}"
            yield "StateDirectoryMode=0700"
        else:
            yield f"ReadWritePaths={self.place}"

    def _fence(self) -> Iterator[str]:
        """What the server can't do, whatever is wrong with it."""
        low = self.port is not None and 0 < self.port < FIRST_OPEN_PORT
        yield from _FENCE
        yield f"CapabilityBoundingSet={'CAP_NET_BIND_SERVICE' if low else ''}"
        yield f"AmbientCapabilities={'CAP_NET_BIND_SERVICE' if low else ''}"


def _says_password(url: str) -> bool:
    """Tell whether there is a password in a database's URL, as libpq reads it."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        return "password" in conninfo_to_dict(url)
    except Error:
        return True  # then it may be anywhere in it


# Typed wrong (2) stays wrong, so it isn't tried again. A stopping server has 30 seconds for what is under way
# (SEATKEEPER_STOP_WITHIN); its desk process is told by the server itself, hence KillMode.
_LIFE: Final = (
    "Restart=on-failure",
    "RestartSec=2",
    "RestartPreventExitStatus=2",
    "TimeoutStopSec=45",
    "KillMode=mixed",
    "OOMPolicy=continue",
    "LimitNOFILE=65536",
    "UMask=0077",
)

_FENCE: Final = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "SystemCallErrorNumber=EPERM",
)
