"""What can be typed after `seatkeeper`: verbs, and groups of verbs, each with what it does and an example."""

# verb (also its module and function), what it does, example
VERBS = (
    ("cloud", "Serve seats on the network.", "seatkeeper cloud --data ./vendor --port 6500"),
    ("local", "Serve the seats that were lent to a site.", "seatkeeper local --data ./site --port 6501"),
    ("sell", "Sell seats of a product to a customer.", "seatkeeper sell acme solver --seats 3 --env > acme.env"),
    (
        "change",
        "Change how many seats were bought, or until when.",
        "seatkeeper change acme/solver --seats 5 --until 2027-12-31",
    ),
    ("ls", "List what was sold.", "seatkeeper ls --json"),
    ("seats", "Show who holds seats.", "seatkeeper seats acme"),
    ("status", "Say whether a server serves, and how full it is; as `lmstat -a` does with -a.", "seatkeeper status -a"),
    ("usage", "Show how full it was, and how many seats would be right.", "seatkeeper usage acme/solver --since 30d --by day"),
    ("free", "Take a seat back from its holder, keep him out, or let him in again.", "seatkeeper free eve@node7 --block 10m"),
    ("vendor", "Show who sells here, or change whom refused users ask.", "seatkeeper vendor --contact licenses@example.com"),
    ("log", "Show what happened.", "seatkeeper log --since 2h --denied"),
    ("why", "Explain a refusal by its id.", "seatkeeper why D-7K3M2Q"),
    ("doctor", "Examine the server's data, keys, clock and disk.", "seatkeeper doctor --data ./vendor"),
    ("clock", "Put a recorded time right that was wrong.", "seatkeeper clock --set-back"),
    ("verify", "Check that facts, counters and seats say the same.", "seatkeeper verify"),
    ("backup", "Write everything into one file, beside a running server.", "seatkeeper backup vendor-2026-06-01.tar"),
    ("restore", "Restore a backup into an empty place.", "seatkeeper restore vendor-2026-06-01.tar --data ./vendor"),
    (
        "migrate",
        "Move everything from a data directory into PostgreSQL.",
        "seatkeeper migrate --to postgresql://seatkeeper@db.example/vendor --data ./vendor",
    ),
    ("schema", "Show the steps of the schema, or finish an upgrade.", "seatkeeper schema --finish"),
    (
        "connect",
        "Connect a local server with its vendor.",
        "seatkeeper connect https://licenses.example.com --tenant t_… --code XXXXX-… --name lab-1 --data ./site",
    ),
    ("disconnect", "Go back to tokens that are carried.", "seatkeeper disconnect --data ./site"),
    ("demo", "Watch seats being taken, refused, lost and won back.", "seatkeeper demo"),
)

# group (also its module), what it is about, its place in the list, and its verbs: as typed, function, what it does, example
GROUPS = (
    (
        "client",
        "Let systems of the vendor's call the Management API.",
        7,
        (
            (
                "create",
                "create",
                "Make an API client, and print its secret, which is shown only now.",
                "seatkeeper client create erp",
            ),
            ("list", "show", "List the API clients; their secrets can't be read again.", "seatkeeper client list --json"),
            ("delete", "delete", "Remove an API client; its tokens end with it.", "seatkeeper client delete erp"),
        ),
    ),
    (
        "site",
        "Lend seats to license servers at customers' sites.",
        18,
        (
            ("list", "list_", "List the local servers, and what is lent to them.", "seatkeeper site list"),
            ("use", "use", "Show what local servers reported of their use.", "seatkeeper site use lab-1"),
            ("code", "code", "Show the code by which local servers are licensed.", "seatkeeper site code --json"),
            (
                "lend",
                "lend",
                "Lend seats to a local server; print the token to carry there.",
                "seatkeeper site lend acme/solver --to lab-1 --seats 30 --until 2027-12-31 -o lab-1.token",
            ),
            ("fresh", "fresh", "Print a fresh token of what was lent.", "seatkeeper site fresh acme/solver --to lab-1"),
            (
                "back",
                "back",
                "Take back what was lent when its grant has run out.",
                "seatkeeper site back acme/solver --from lab-1",
            ),
            ("renew", "renew", "Renew a local server's own license.", "seatkeeper site renew lab-1 -o lab-1.token"),
            ("forget", "forget", "End the license of a local server that is lost.", "seatkeeper site forget lab-1"),
        ),
    ),
    (
        "token",
        "Carry tokens between a vendor's server and local ones.",
        19,
        (
            (
                "request",
                "request",
                "On a local server: ask for its license.",
                "seatkeeper token request --tenant t_… --code XXXXX-… --name lab-1 -o request.token",
            ),
            ("apply", "apply", "Say what a token is, and apply it.", "seatkeeper token apply lab-1.token"),
            ("show", "show", "Say what a token is and says, without applying it.", "seatkeeper token show lab-1.token"),
            ("report", "report", "On a local server: report its use.", "seatkeeper token report -o report.token"),
            ("remove", "remove", "On a local server: give an entitlement back.", "seatkeeper token remove ent_… -o back.token"),
            (
                "deactivate",
                "deactivate",
                "On a local server: give its license back.",
                "seatkeeper token deactivate -o end.token",
            ),
        ),
    ),
    (
        "service",
        "Have a server started with the machine, by systemd.",
        30,
        (
            (
                "install",
                "install",
                "Install a server as a service of systemd; called again with other options, it changes that.",
                "sudo seatkeeper service install cloud --host 0.0.0.0 --tls-cert server.pem --tls-key server.key",
            ),
            ("remove", "remove", "Stop a service and forget it. Its data stays.", "sudo seatkeeper service remove cloud"),
        ),
    ),
)
