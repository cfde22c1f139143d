"""`seatkeeper service`: a server that starts with the machine, as a service of systemd, and can do little else there."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from seatkeeper_server.apps.unit import Service
from seatkeeper_server.cli._failures import DONE, Mistyped, Unusable, wrong_values_told
from seatkeeper_server.cli._output import say
from seatkeeper_server.cli._systemd import Systemd

Role = Annotated[Literal["cloud", "local"], Parameter(help="Which server: the vendor's, or a site's.")]
Root = Annotated[Path, Parameter(help="Write under this directory, for an image; nothing is started.", show_default=False)]


def install(
    role: Role,
    /,
    *,
    data: Annotated[
        Path | None, Parameter(help="The data directory; /var/lib/seatkeeper-ROLE unless named.", show_default=False)
    ] = None,
    database: Annotated[
        str | None, Parameter(help="A PostgreSQL database, postgresql://USER@HOST/NAME, without a password.")
    ] = None,
    host: Annotated[str | None, Parameter(help="The address to listen on; only this machine unless given.")] = None,
    port: Annotated[int | None, Parameter(help="The TCP port; the server's own unless given.")] = None,
    tls_cert: Annotated[Path | None, Parameter(help="The server's certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, Parameter(help="Its private key, PEM; only root need be able to read it.")] = None,
    seal_key: Annotated[
        Path | None,
        Parameter(help="Keep the sealing key in this file, outside the data; made if need be, readable by root alone."),
    ] = None,
    console_user: Annotated[str | None, Parameter(help="Who may log in to a local server's console.")] = None,
    console_password_file: Annotated[
        Path | None, Parameter(help="A file with his password; one is made on the first start unless given.")
    ] = None,
    user: Annotated[
        str | None, Parameter(help="A user that exists; unless named, systemd makes one that only runs this.")
    ] = None,
    program: Annotated[
        Path | None, Parameter(help="The program to run; the one that is running now unless named.", show_default=False)
    ] = None,
    start: Annotated[bool, Parameter(help="Start it now, too.", negative="--no-start")] = True,
    force: Annotated[bool, Parameter(help="Write over a unit file that somebody wrote by hand.")] = False,
    show: Annotated[bool, Parameter(name="--print", help="Print the unit file and do nothing.")] = False,
    root: Root = Path("/"),
) -> int:
    """Install a server as a service of systemd: fenced in, started now and at every boot. Called again, it changes that."""
    seal_key = seal_key and seal_key.absolute()
    credentials = {
        "SEATKEEPER_TLS_CERT": tls_cert,
        "SEATKEEPER_TLS_KEY": tls_key,
        "SEATKEEPER_SEAL_KEY_FILE": seal_key,
        "SEATKEEPER_CONSOLE_PASSWORD_FILE": console_password_file,
    }
    if (tls_cert is None) != (tls_key is None):
        raise Mistyped("TLS needs both: --tls-cert and --tls-key")
    if role != "local" and not (console_user is None and console_password_file is None):
        raise Mistyped("--console-user, --console-password-file: only a local server has a console")
    if port is not None and not 0 < port < 1 << 16:
        raise Mistyped("--port: it has to be between 1 and 65535")
    with wrong_values_told():
        service = Service(
            role=role,
            program=program or _this_program(),
            data=data and data.absolute(),
            user=user,
            host=host,
            port=port,
            database=database,
            console_user=console_user,
            credentials={setting: file.absolute() for setting, file in credentials.items() if file is not None},
        )
    if show:
        print(service.unit(), end="")
        return DONE
    systemd = Systemd(root)
    systemd.check(f"seatkeeper service install {role}")
    _prepare(service, systemd, seal_key)
    path = systemd.write(service, force=force)
    systemd.enable(service.name, start=start)
    say(*_installed(service, path, seal_key, runs=start and systemd.is_this_machine))
    return DONE


def remove(role: Role, /, *, root: Root = Path("/")) -> int:
    """Stop a service and forget it. Its data stays where it is."""
    systemd = Systemd(root)
    systemd.check(f"seatkeeper service remove {role}")
    service = Service(role=role, program=Path("/"))
    if not systemd.remove(service.name):
        raise Unusable(f"there is no {systemd.unit_path(service.name)}: nothing was removed")
    say(f"{service.name} is no service any more. Its data and {service.settings_file} are as they were.")
    return DONE


def _this_program() -> Path:
    """Give the program as it was called, so that a link to the current version (a bundle's) stays a link to that."""
    called = Path(os.path.abspath(sys.argv[0]))
    found = called if called.name == "seatkeeper" and os.access(called, os.X_OK) else _installed_program()
    versions = found.parent.parent.parent  # of a bundle: PREFIX/versions/1.2.3/bin/seatkeeper
    current = versions.parent / "current" / "bin" / found.name
    return current if versions.name == "versions" and current.exists() else found


def _installed_program() -> Path:
    return Path(sysconfig.get_path("scripts")) / "seatkeeper"


def _prepare(service: Service, systemd: Systemd, seal_key: Path | None) -> None:
    """See that what the unit names is there, and make what is ours to make.

    Raises:
        Unusable: something is missing, or hidden from a service.
    """
    if systemd.is_this_machine:
        if service.out_of_sight is not None:
            raise Unusable(
                f"a service sees nothing of {service.out_of_sight}, where {service.program} lies: install Seatkeeper elsewhere,"
                " such as /opt/seatkeeper (docs/howto/bundle.md), or name another --program"
            )
        if not os.access(service.program, os.X_OK):
            raise Unusable(f"{service.program} is no program that can be run: name another --program")
        if service.user is not None:
            _check_user(service.user)
        for setting, file in service.credentials.items():
            if file != seal_key and not file.is_file():
                raise Unusable(f"{file} ({setting}) is not there")
        if service.state is None:
            _make_place(service)
    if seal_key is not None:
        _keep_key(service, systemd, seal_key)


def _check_user(user: str) -> None:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        raise Unusable(
            f"there is no user {user}: useradd --system --shell /usr/sbin/nologin {user}, or leave --user out"
        ) from None


def _make_place(service: Service) -> None:
    if service.user is not None and not service.place.exists():
        service.place.mkdir(mode=0o700, parents=True)
        shutil.chown(service.place, service.user)


def _keep_key(service: Service, systemd: Systemd, seal_key: Path) -> None:
    """Make the sealing key where it is wanted, if nothing was sealed yet under one that is elsewhere.

    Raises:
        Unusable: the data has a sealing key already.
        SealKeyError: it can't be made, or isn't a key.
    """
    from seatkeeper_server.sealing import SealKey

    file, place = systemd.at(seal_key), systemd.at(service.place)
    if not file.exists() and (place / "seal.key").exists():
        raise Unusable(f"the data has its sealing key in {place}/seal.key: move it to {file} first")
    if not file.exists() and (place / "seatkeeper.db").exists():
        raise Unusable(f"{file} is missing, and the keys in {place} are sealed with it: put it back")
    SealKey.load_or_create(file)


def _installed(service: Service, path: Path, seal_key: Path | None, *, runs: bool) -> list[str]:
    key = "" if seal_key is None else f"SEATKEEPER_SEAL_KEY_FILE={seal_key} "
    return [
        f"{path}: {service.name} starts with the machine{', and has just been started' if runs else ''}",
        f"data      {service.place}",
        f"log       journalctl -u {service.name}",
        *([f"console   its first password: {service.place}/console.password"] if _makes_password(service) else ()),
        f"settings  {service.settings_file}, if there is one (SEATKEEPER_…=…); then systemctl restart {service.name}",
        f"verbs     as root: {key}seatkeeper doctor --data {service.place}",
    ]


def _makes_password(service: Service) -> bool:
    """Tell whether the server makes its console's password itself; without a terminal it tells it in a file."""
    return service.role == "local" and "SEATKEEPER_CONSOLE_PASSWORD_FILE" not in service.credentials
