"""What several tests need: sold entitlements, calls, clocks that are moved by hand."""
