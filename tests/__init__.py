"""The tests mirror the packages; `docs/decisions/` and `packages/` say what they hold us to."""
