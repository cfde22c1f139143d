"""Values and decisions. Nothing in here knows a clock, a database, a framework or a logger; time is an argument."""
