"""Journeys: real servers as processes, real programs, real signals, real disks."""
