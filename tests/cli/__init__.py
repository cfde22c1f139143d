"""The command line `seatkeeper`."""
