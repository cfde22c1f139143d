"""Whether what a crowd of programs saw could have been seen at one counter of seats: histories, a checker, and a driver."""
