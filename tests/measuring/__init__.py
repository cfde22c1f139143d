"""The harness of `make bench` itself: what it plans, what it asks, how it counts, what it says of promises. No timings."""
