"""How Seatkeeper comes onto a machine: as a service of systemd, in an image, and by one file without a network."""
