"""Keeps everything, durably. What a store promises is in `contract.md`; nothing in here decides."""
