"""Use cases: load, decide, record, in one transaction each. What they need from outside is named in `ports`."""
