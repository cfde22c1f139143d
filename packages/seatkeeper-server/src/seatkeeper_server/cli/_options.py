"""Options that many verbs share, each with its environment variable."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Data = Annotated[
    Path | None,
    Parameter(env_var="SEATKEEPER_DATA", help="The data directory; a folder of your own unless named.", show_default=False),
]
Json = Annotated[bool, Parameter(help="Print JSON, for programs.")]
EntitlementId = Annotated[str, Parameter(help="The entitlement's id, as `seatkeeper ls` shows it.")]
