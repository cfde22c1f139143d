"""`make bench`: what a seat costs, measured side by side in one run.

    floor       an empty thin ASGI route on stock uvicorn: what a request costs before anything is done
    ours        `seatkeeper cloud`, SQLite, durable commits
    baseline    the usual design: the same server, one commit per request

Every server is a real process on loopback, its data on a real disk; the load is wrk's. The servers take turns in short
rounds, and what is reported is the median of the rounds, so that a noisy neighbour disturbs all cases alike. `build/bench.json`
has every number; the verdicts printed at the end are those that the project promises.
"""
