"""The Seatkeeper license server: sells seats, serves them, and never hands out seat N+1.

Rooms: `domain` decides, `service` does (load, decide, record), `store` keeps, `http` speaks, `apps` and `cli`
put them together.
"""
