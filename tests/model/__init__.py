"""A small executable model of the rules of the seat, searched with seeds."""
