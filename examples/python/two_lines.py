"""The shortest program that needs a seat. Settings come from the environment, or from the file in /etc/seatkeeper."""

import seatkeeper

with seatkeeper.seat():
    print("working, and the seat is kept from the background")
