"""Who asks for a seat: the seat id, and the words by which people recognise the holder.

By default a seat belongs to machine + user + slot. The slot is the lowest number that no living process has locked: a
second window gets slot 1 and with it a seat of its own, and a program that restarts finds its old slot and its old seat.
The lock is the operating system's, so a crash lets go of it. `by` chooses otherwise:

    window     machine + user + slot (the default; in a container, the container takes the machine's place)
    user       the user's name, wherever he sits; a newer program takes the seat over from an older one
    machine    the machine, whoever uses it
    process    this very process; a restart is someone else
    container  the container
    job        the batch or CI job (SLURM_JOB_ID and its like)

Inside a container the machine id is never used: every container made from one image, or on one host, may have the same.
What leaves the machine is a digest of its id, made for this tenant alone, so that two vendors can't compare notes.
"""

import getpass
import os
import platform
import re
import secrets
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, Literal, get_args

from seatkeeper._storage import make_private, state_folder
from seatkeeper.errors import ConfigurationError
from seatkeeper.protocol.documents import MAX_SEAT_ID, Holder
from seatkeeper.protocol.text import UNSHOWN

By = Literal["window", "user", "machine", "process", "container", "job"]
WAYS: Final[tuple[By, ...]] = get_args(By)

MOST_SLOTS: Final = 1000
_JOB_VARIABLES: Final = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "CI_JOB_ID", "GITHUB_RUN_ID", "BUILD_TAG")


class Slot:
    """A place among the programs of one user on one machine, held by a file lock as long as the process lives."""

    def __init__(self, number: int, file: IO[bytes] | None) -> None:
        self.number = number
        self._file = file

    def release(self) -> None:
        """Let the next program have it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True)
class Identity:
    """Who asks: the id that is counted, the name that is shown, and the holder's particulars."""

    seat_id: str
    seat_name: str
    holder: Holder
    slot: Slot | None = None
    is_for_one_life: bool = False  # nobody else, a restart of the program included, will ask by this id


def identify(
    *,
    tenant: str,
    product: str,
    seat_id: str | None = None,
    by: By = "window",
    environment: Mapping[str, str] = os.environ,
    first: Sequence[int] = (),
) -> Identity:
    """Find out who asks; of a window, in one of the `first` slots if one is free.

    Raises:
        ConfigurationError: the seat id is empty, too long or not printable, or there is no job or container to go by.
    """
    if by not in WAYS:
        raise ConfigurationError(f"by={by!r} is none of {', '.join(WAYS)}")
    user, host, chosen = _user(), socket.gethostname(), seat_id
    slot = None
    if seat_id is None:
        slot = take_slot(tenant=tenant, product=product, user=user, first=first) if by == "window" else None
        seat_id = _seat_id(by, tenant=tenant, user=user, slot=slot, environment=environment)
    return Identity(
        seat_id=_checked(seat_id),
        seat_name=_seat_name(user, host, slot),
        holder=Holder(
            user=_short(user), host=_short(host), process=_short(f"{Path(sys.argv[0]).name or 'python'}[{os.getpid()}]")
        ),
        slot=slot,
        is_for_one_life=chosen is None and by == "process",
    )


def fingerprint(tenant: str, *, environment: Mapping[str, str] = os.environ) -> str:
    """Give what tells this machine and user from others, and stays: a digest, made for this tenant alone."""
    said = ("seatkeeper-device", tenant, _machine_or_container(tenant, environment), _user(), platform.system())
    return sha256("\0".join(said).encode()).hexdigest()


def take_slot(*, tenant: str, product: str, user: str = "", folder: Path | None = None, first: Sequence[int] = ()) -> Slot:
    """Lock and give the lowest slot that no living process of the user has, `first` ones before others.

    Users may share a state folder.

    Where locks can't be kept (a read-only home), the slot is a random number: a seat of its own, not found again after a
    restart.
    """
    place = (folder or state_folder()) / "slots"
    name = sha256("\0".join((tenant, product, user)).encode()).hexdigest()[:32]
    try:
        make_private(place)
        for number in (*first, *range(MOST_SLOTS)):
            file = _locked(place / f"{name}-{number}.lock")
            if file is not None:
                return Slot(number, file)
    except OSError:
        pass
    return Slot(MOST_SLOTS + secrets.randbelow(10**9), None)


def in_container(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process lives in a container, by the marks that container engines leave."""
    if environment.get("container") or environment.get("KUBERNETES_SERVICE_HOST"):
        return True
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    try:
        groups = (root / "proc/1/cgroup").read_text()
    except OSError:
        return False
    return re.search(r"docker|kubepods|containerd|libpod|/lxc/", groups) is not None


def _seat_id(by: By, *, tenant: str, user: str, slot: Slot | None, environment: Mapping[str, str]) -> str:
    match by:
        case "user":
            return f"user:{user}"
        case "container":
            return f"container:{_container(environment)}"
        case "job":
            return f"job:{_job(environment)}"
    machine = _machine_or_container(tenant, environment)
    match by:
        case "machine":
            return machine
        case "process":
            return f"{machine}/{user}/{os.getpid()}-{secrets.token_hex(4)}"
    number = slot.number if slot is not None else 0
    return f"{machine}/{user}/{number}"


def _seat_name(user: str, host: str, slot: Slot | None) -> str:
    """Give the name that lists show; a second window is told apart by its number."""
    window = f" {slot.number + 1}" if slot is not None and slot.number > 0 else ""
    return _short(f"{user}@{host}", 200 - len(window)) + window


def _machine_or_container(tenant: str, environment: Mapping[str, str]) -> str:
    if in_container(environment=environment):
        return f"container:{socket.gethostname()}"
    return "machine:" + sha256(f"seatkeeper\0{tenant}\0{_machine_id()}".encode()).hexdigest()[:20]


def _container(environment: Mapping[str, str]) -> str:
    """Give the container's name: engines set the host name to the container's id, orchestrators to the pod's name."""
    if not in_container(environment=environment):
        raise ConfigurationError('by="container", but this does not look like a container; choose another way or a seat_id')
    return socket.gethostname()


def _job(environment: Mapping[str, str]) -> str:
    for variable in _JOB_VARIABLES:
        if environment.get(variable):
            return environment[variable]
    raise ConfigurationError(f'by="job", but none of {", ".join(_JOB_VARIABLES)} is set; choose another way or a seat_id')


def _machine_id() -> str:
    """Give what the operating system calls this machine; the network card's address where it has no name for it."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            found = Path(path).read_text().strip()
        except OSError:
            continue
        if found and found != "uninitialized":
            return found
    return _windows_machine_id() or _mac_machine_id() or f"{uuid.getnode():012x}"


def _windows_machine_id() -> str | None:
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
    except OSError:
        return None


def _mac_machine_id() -> str | None:
    if platform.system() != "Darwin":
        return None
    import subprocess

    command = ["/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'"IOPlatformUUID" = "([^"]+)"', said)
    return found[1] if found else None


def _locked(path: Path) -> IO[bytes] | None:
    """Open and lock a file, or give None if another process, or another seat of this one, has it locked."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    try:
        _lock(file)
    except OSError:
        file.close()
        return None
    return file


def _lock(file: IO[bytes]) -> None:
    """Lock without waiting. `flock`, not POSIX record locks: those would let one process take the same slot twice."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have a number and no name
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _short(text: str, most: int = 200) -> str:
    return UNSHOWN.sub("?", text)[:most]


def _checked(seat_id: str) -> str:
    if not seat_id or len(seat_id) > MAX_SEAT_ID or UNSHOWN.search(seat_id):
        raise ConfigurationError(f"a seat id is 1 to {MAX_SEAT_ID} printable characters, not {seat_id[:40]!r}")
    return seat_id
