"""`seatkeeper demo --air-gap`: a vendor and two closed networks, and nothing between them but files that are carried.

Fifty seats are sold; thirty are lent to one site, fifteen to another, five stay. The same program runs everywhere with the
same settings but for one URL. A report is carried back, and a share moves from one site to the other. Every sentence is
checked before it is told; nothing in here knows the inside of a server.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from seatkeeper_server.cli._demo_narrators import Narrator, Steps, Told
from seatkeeper_server.cli._demo_networks import Network, closed_network
from seatkeeper_server.cli._demo_stage import PATIENCE, SETTINGS, NotAsTold, check, end_group

SEATS: Final = 50
LENT: Final = {"lab-1": 30, "lab-2": 15}
STAYS: Final = SEATS - sum(LENT.values())
LEASE: Final = 5  # seconds
PORTS: Final = {"cloud": 6500, "lab-1": 6501, "lab-2": 6502}  # of closed networks, in which nobody else has one
ENDED_BY_REFUSAL: Final = 75
INTRO: Final = "A vendor, two closed networks, fifty seats, and files that are carried: real processes, about half a minute."
CROWD: Final = """
import signal, sys, time
from contextlib import ExitStack
import seatkeeper
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with ExitStack() as held:
    for number in range(int(sys.argv[1])):
        held.enter_context(seatkeeper.seat(seat_id=f"{sys.argv[2]}-{number}"))
    print("working", flush=True)
    while True:
        time.sleep(60)
"""  # many programs in one process; `seat run` holds one seat more


@dataclass
class Place:
    """One network with its server: the vendor's, or a site's."""

    name: str
    directory: Path
    network: Network
    url: str = ""
    server: "subprocess.Popen[str] | None" = None
    programs: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The verb that serves here."""
        return "cloud" if self.name == "cloud" else "local"

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        port = PORTS[self.name] if self.network.is_closed else 0
        with (self.directory / "server.log").open("a") as log:
            self.server = self._started([_command("seatkeeper"), self.kind, *self._data(), f"--port={port}"], {}, stderr=log)
        assert self.server.stdout is not None
        words = self.server.stdout.readline().split()
        self.url = next((word for word in words if word.startswith("http")), "")
        check(self.url, f"the server {self.name} did not start: {Path(log.name).read_text()[-500:]}")

    def ask(self, *verb: str) -> Any:
        """Run a verb of `seatkeeper` here and read its JSON."""
        command = self.network.command([_command("seatkeeper"), *verb, *self._data(), "--json"])
        done = subprocess.run(command, env=_environment({}), capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603
        check(done.returncode == 0, f"{self.name}: seatkeeper {' '.join(verb[:2])}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def run(self, user: str, settings: Mapping[str, str], *program: str) -> "tuple[bool, subprocess.Popen[str]]":
        """Have somebody start a program here under `seat run`; tell whether it works."""
        words = [_command("seat"), "run", "--", *program]
        return self._begun(self._started(words, {**settings, "USER": user, "LOGNAME": user}))

    def crowd(self, count: int, name: str, settings: Mapping[str, str]) -> "tuple[bool, subprocess.Popen[str]]":
        """Have a process here hold so many seats; tell whether it does."""
        return self._begun(self._started([sys.executable, "-c", CROWD, str(count), name], settings))

    def used(self) -> tuple[int, int]:
        """Give how many seats are held by programs here, and how many there are for them."""
        (pool,) = [pool for pool in self.ask("seats") if pool["product"] == "solver"]
        return pool["held"], pool["seats"] - pool["lent"]

    def end_programs(self) -> None:
        """Ask every program here to end, and wait until it has."""
        for program in self.programs:
            program.terminate()
        codes = [program.wait(PATIENCE) for program in self.programs]
        self.programs.clear()
        check(set(codes) <= {0}, f"programs of {self.name} ended with {codes}")

    def close(self) -> None:
        """End everything that was started here."""
        for process in [*self.programs, *([self.server] if self.server else [])]:
            end_group(process)  # what it started holds its pipes

    def _begun(self, process: "subprocess.Popen[str]") -> "tuple[bool, subprocess.Popen[str]]":
        assert process.stdout is not None
        works = process.stdout.readline() == "working\n"
        if works:
            self.programs.append(process)
        return works, process

    def _started(self, command: list[str], settings: Mapping[str, str], **more: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603  our own commands
            self.network.command(command),
            env=_environment({"SEATKEEPER_STATE_DIR": str(self.directory / "state"), **settings}),
            stdout=subprocess.PIPE,
            **{"stderr": subprocess.PIPE, **more},
            text=True,
            start_new_session=True,
        )

    def _data(self) -> tuple[str, str]:
        return ("--data", str(self.directory / "data"))


@dataclass
class Stage:
    """The vendor's network and the sites', and the stick by which tokens are carried between them."""

    places: dict[str, Place]
    stick: Path
    sold: Any = None
    carried: int = 0

    @property
    def cloud(self) -> Place:
        """The vendor's place."""
        return self.places["cloud"]

    @property
    def sites(self) -> list[Place]:
        """The customer's places."""
        return [place for name, place in self.places.items() if name != "cloud"]

    def settings(self, place: Place) -> dict[str, str]:
        """Give a program's settings: the same everywhere, but for the URL."""
        named = {f"SEATKEEPER_{name.upper().replace('-', '_')}": self.sold[key] for name, key in SETTINGS.items()}
        return {**named, "SEATKEEPER_SERVER": place.url, "SEATKEEPER_NAME": "solver"}

    def carry(self, token: str, to: Place) -> Any:
        """Carry a token as a file, and have it applied there; what it came to."""
        self.carried += 1
        file = self.stick / f"{self.carried}-for-{to.name}.token"
        file.write_text(token + "\n", encoding="ascii")
        return to.ask("token", "apply", str(file))

    def close(self) -> None:
        """End everything."""
        for place in self.places.values():
            place.close()


def told(directory: Path, narrator: Narrator) -> bool:
    """Tell the story; whether all of it came about."""
    with _opened(directory) as stage:
        return narrator.story(STORY, stage)


@contextmanager
def _opened(directory: Path) -> Iterator[Stage]:
    with ExitStack() as opened:
        places = {}
        for name in ("cloud", *LENT):
            (directory / name).mkdir()
            network = opened.enter_context(closed_network())
            places[name] = opened.enter_context(closing(Place(name, directory / name, network)))
        stick = directory / "stick"
        stick.mkdir()
        yield Stage(places, stick)


# --- the story -----------------------------------------------------------------------------------------------------


def _servers_start(stage: Stage) -> Told:
    for place in stage.places.values():
        place.start()
    closed = all(place.network.is_closed for place in stage.places.values())
    if not closed:
        return Told(
            "A vendor's server and two license servers of a customer's start. No network namespace may be made here: they only"
            " share no directory and no connection.",
            {"closedNetworks": False, "urls": {name: place.url for name, place in stage.places.items()}},
        )
    ports = {name: int(place.url.rsplit(":", 1)[1]) for name, place in stage.places.items()}
    for place in stage.places.values():
        for name, port in ports.items():
            check(place.network.reaches(port) == (name == place.name), f"{place.name} and {name} are not apart")
    return Told(
        "A vendor's server and two license servers of a customer's start, each in a network of its own: none reaches another.",
        {"closedNetworks": True, "urls": {name: place.url for name, place in stage.places.items()}},
    )


def _seats_are_sold(stage: Stage) -> Told:
    stage.sold = stage.cloud.ask("sell", "acme", "solver", "--seats", str(SEATS), "--lease", f"{LEASE}s")
    return Told(f"Sold to acme: solver, {SEATS} seats, leases of {LEASE} s.", {"entitlementId": stage.sold["entitlementId"]})


def _sites_are_licensed(stage: Stage) -> Told:
    code = stage.cloud.ask("site", "code")
    names = []
    for site in stage.sites:
        asked = ("--code", code["activationCode"], "--tenant", code["tenantId"], "--name", site.name)
        answer = stage.carry(site.ask("token", "request", *asked)["token"], stage.cloud)
        applied = stage.carry(answer["token"], site)
        check(applied["kind"] == "license", f"{site.name} was not licensed: {applied['text']}")
        names.append(site.name)
    listed = stage.cloud.ask("site", "list")
    check([one["name"] for one in listed] == names, f"the vendor knows {listed}")
    return Told(
        f"{' and '.join(names)} ask for a license: a file to the vendor, a file back, each sealed to its receiver.",
        {"sites": {one["name"]: one["localLicenseServerId"] for one in listed}, "carried": stage.carried},
    )


def _shares_are_lent(stage: Stage) -> Told:
    for site in stage.sites:
        token = stage.cloud.ask("site", "lend", "acme/solver", "--to", site.name, "--seats", str(LENT[site.name]))["token"]
        stage.carry(token, site)
    split = {name: place.used()[1] for name, place in stage.places.items()}
    check(split == {"cloud": STAYS, **LENT}, f"the seats are split {split}")
    return Told(
        f"The {SEATS} seats are split: {LENT['lab-1']} to lab-1, {LENT['lab-2']} to lab-2, {STAYS} stay.", {"split": split}
    )


def _all_work(stage: Stage) -> Told:
    for place in stage.places.values():
        settings, seats = stage.settings(place), place.used()[1]
        works, one = place.run("ada", settings, sys.executable, "-c", _ONE)
        _works(works, one, f"ada got no seat at {place.name}")
        works, crowd = place.crowd(seats - 1, place.name, settings)
        _works(works, crowd, f"the others got no seats at {place.name}")
    held = {name: place.used()[0] for name, place in stage.places.items()}
    check(held == {"cloud": STAYS, **LENT}, f"held are {held}")
    return Told(
        f"The same program with the same settings, but for the URL, works everywhere: {sum(held.values())} seats are held.",
        {"held": held},
    )


def _next_is_refused(stage: Stage) -> Told:
    said = {}
    for place in stage.places.values():
        works, process = place.run("dan", stage.settings(place), sys.executable, "-c", _ONE)
        check(not works, f"dan got a seat too many at {place.name}")
        code, said[place.name] = process.wait(PATIENCE), _said(process)
        check(code == ENDED_BY_REFUSAL, f"dan's `seat run` at {place.name} ended with {code}: {said[place.name]}")
    check("lab-1" in said["cloud"], f"the vendor's refusal does not say who has the seats: {said['cloud']}")
    return Told("One more is refused everywhere; the vendor's server says which local servers have the others.", {"said": said})


def _report_is_carried(stage: Stage) -> Told:
    lab = stage.places["lab-1"]
    applied = stage.carry(lab.ask("token", "report")["token"], stage.cloud)
    (listed,) = [one for one in stage.cloud.ask("site", "list") if one["name"] == "lab-1"]
    check(listed["lastReport"] is not None and listed["state"] == "ok", f"the report did not arrive: {listed}")
    return Told(f"A report is carried back: {applied['text']}; the vendor knows how full it was.", {"site": listed})


def _share_moves(stage: Stage) -> Told:
    one, two = stage.places["lab-1"], stage.places["lab-2"]
    two.end_programs()
    token = two.ask("token", "remove", stage.sold["entitlementId"])["token"]
    stage.carry(token, stage.cloud)
    more = LENT["lab-1"] + LENT["lab-2"]
    _await(lambda: stage.cloud.used()[1] == STAYS + LENT["lab-2"], "the share did not come back")
    stage.carry(stage.cloud.ask("site", "lend", "acme/solver", "--to", one.name, "--seats", str(more))["token"], one)
    works, dan = one.run("dan", stage.settings(one), sys.executable, "-c", _ONE)
    _works(works, dan, "dan did not get one of the seats that moved")
    works, eve = two.run("eve", stage.settings(two), sys.executable, "-c", _ONE)
    check(not works, "lab-2 still serves what it gave back")
    return Told(
        f"lab-2 gives its {LENT['lab-2']} seats back, and they move to lab-1, which has {more} now: dan gets one there.",
        {"seats": one.used()[1], "saidAtLab2": _said(eve)},
    )


def _all_fits(stage: Stage) -> Told:
    facts = 0
    for place in stage.places.values():
        place.end_programs()
        found = place.ask("verify")
        check(found["holds"], f"{place.name}: facts and counters differ: {found['breaks']}")
        facts += found["facts"]
    held = {name: place.used()[0] for name, place in stage.places.items() if name != "lab-2"}
    check(set(held.values()) == {0}, f"still held are {held}")
    return Told(
        f"Everybody stops. {stage.carried} files were carried; {facts} facts, counters and seats say the same on all three.",
        {"facts": facts, "carried": stage.carried},
    )


STORY: Final[Steps[Stage]] = (
    ("servers-start", _servers_start),
    ("seats-are-sold", _seats_are_sold),
    ("sites-are-licensed", _sites_are_licensed),
    ("shares-are-lent", _shares_are_lent),
    ("all-work", _all_work),
    ("next-is-refused", _next_is_refused),
    ("report-is-carried", _report_is_carried),
    ("share-moves", _share_moves),
    ("all-fits", _all_fits),
)

_ONE: Final = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("working", flush=True)
while True:
    time.sleep(60)
"""


def _await(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        check(time.monotonic() < deadline, otherwise)
        time.sleep(0.5)


def _works(works: bool, process: "subprocess.Popen[str]", otherwise: str) -> None:
    if not works:
        raise NotAsTold(f"{otherwise}: {_said(process)}")


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    return "" if process.poll() is None else process.stderr.read().strip()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEATKEEPER_")}
    return {**clean, "NO_PROXY": "127.0.0.1", **settings}


def _command(name: str) -> str:
    beside = Path(sysconfig.get_path("scripts")) / name
    return str(beside) if beside.exists() else shutil.which(name) or name
