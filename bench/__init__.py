"""`make bench`: what a seat costs, measured side by side in one run.

    floor       an empty thin ASGI route on stock uvicorn: what a request costs before anything is done
    hello       a bare asyncio protocol: what it costs without a server framework
    ours        `seatkeeper cloud`, on SQLite and on PostgreSQL, durable commits
    baseline    the usual design: the same server, one commit per request

Every server is a real process on loopback, its data on a real disk; the load is wrk's. Servers that are compared take turns in
short rounds, and what is reported is the median of the rounds, so that a noisy neighbour disturbs all cases alike.
`build/bench.json` has every number; the verdicts printed at the end are those that the project promises, and the page
docs/explanation/performance.md is made of a whole run.

    cases → house (what is sold and held) → stage (servers) → acts, asking, lua/ (requests) → load (wrk)
          → results → promises → report, page
"""
