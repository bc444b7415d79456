-- The journal. Amounts are exact decimal text; times are microseconds since 1970 (UTC), in columns that end in _us;
-- UUIDs are text, so that a person with the sqlite3 shell can read them.

-- The projection of an order: everything here but the lease can be rebuilt from order_commits.
CREATE TABLE orders (
    admission           INTEGER PRIMARY KEY,   -- counts orders as they were admitted
    id                  TEXT NOT NULL UNIQUE,
    client_order_id     TEXT NOT NULL UNIQUE,
    -- the request that made it: lane, stream entry, hash of the fields received
    lane                TEXT NOT NULL,
    entry_ms            INTEGER NOT NULL,
    entry_seq           INTEGER NOT NULL,
    request_hash        BLOB NOT NULL,
    content_hash        BLOB NOT NULL,         -- of what was asked for: tells a repeat from another order
    broker              TEXT NOT NULL,
    symbol              TEXT NOT NULL,
    side                TEXT NOT NULL,
    order_type          TEXT NOT NULL,
    quantity            TEXT NOT NULL,
    filled_quantity     TEXT NOT NULL,
    average_fill_price  TEXT,
    status              TEXT NOT NULL,
    strategy_id         TEXT,
    version             INTEGER NOT NULL,      -- events so far
    -- who may decide about it, until when, by this database's clock
    lease_owner         TEXT NOT NULL,
    lease_epoch         INTEGER NOT NULL,
    lease_until_us      INTEGER NOT NULL,
    spec                TEXT NOT NULL,         -- JSON: what was asked for
    state               TEXT NOT NULL,         -- JSON: what became of it
    created_us          INTEGER NOT NULL,
    updated_us          INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_entry ON orders (lane, entry_ms, entry_seq);
CREATE INDEX orders_resting ON orders (broker, symbol, admission) WHERE status IN ('Acknowledged', 'PartiallyFilled');

-- What one commit did to one order: the truth. Rows are only ever added.
CREATE TABLE order_commits (
    seq            INTEGER PRIMARY KEY,
    order_id       TEXT NOT NULL,
    first_version  INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    at_us          INTEGER NOT NULL,
    events         TEXT NOT NULL              -- JSON array
) STRICT;
CREATE UNIQUE INDEX order_commits_version ON order_commits (order_id, first_version);

CREATE VIEW order_events AS
SELECT c.order_id,
       e.value ->> 'version'   AS version,
       e.value ->> 'event_id'  AS event_id,
       e.value ->> 'type'      AS type,
       e.value ->> 'timestamp' AS timestamp,
       e.value ->  'details'   AS details
FROM order_commits c, json_each(c.events) e;

-- Commits that nobody has marked as published.
CREATE TABLE outbox_commits (seq INTEGER PRIMARY KEY) STRICT;

-- Every request that an order's own row does not stand for: commands, repeats, refusals.
CREATE TABLE requests (
    lane             TEXT NOT NULL,
    entry_ms         INTEGER NOT NULL,
    entry_seq        INTEGER NOT NULL,
    hash             BLOB NOT NULL,
    kind             TEXT NOT NULL,
    order_id         TEXT,
    attempt_version  INTEGER,                 -- version of the event that journaled its attempt
    received_us      INTEGER NOT NULL,
    PRIMARY KEY (lane, entry_ms, entry_seq, hash)
) STRICT, WITHOUT ROWID;

-- Something about to be asked of a broker, written before it is.
CREATE TABLE attempts (
    order_id      TEXT NOT NULL,
    kind          TEXT NOT NULL,              -- submit, cancel
    number        INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    journaled_us  INTEGER NOT NULL,
    answer        TEXT,                       -- accepted, rejected; NULL: open
    answered_us   INTEGER,
    PRIMARY KEY (order_id, kind, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcomes (
    seq            INTEGER PRIMARY KEY,
    lane           TEXT NOT NULL,
    entry_ms       INTEGER NOT NULL,
    entry_seq      INTEGER NOT NULL,
    hash           BLOB NOT NULL,
    request        TEXT NOT NULL,
    order_id       TEXT,
    client_order_id TEXT,
    order_version  INTEGER NOT NULL,
    status         TEXT,
    code           TEXT,                      -- NULL: completed
    error          TEXT,
    payload        BLOB,
    at_us          INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX outcomes_request ON outcomes (lane, entry_ms, entry_seq, hash);
CREATE TABLE outbox_outcomes (seq INTEGER PRIMARY KEY) STRICT;

-- Unique by (broker, symbol, trade, order): an order has one broker and one symbol.
CREATE TABLE trades (
    order_id           TEXT NOT NULL,
    trade_id           TEXT NOT NULL,
    broker             TEXT NOT NULL,
    symbol             TEXT NOT NULL,
    side               TEXT NOT NULL,
    quantity           TEXT NOT NULL,
    price              TEXT NOT NULL,
    commission         TEXT,
    commission_asset   TEXT,
    executed_us        INTEGER NOT NULL,
    position_sequence  INTEGER NOT NULL,
    PRIMARY KEY (order_id, trade_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE positions (
    broker         TEXT NOT NULL,
    symbol         TEXT NOT NULL,
    quantity       TEXT NOT NULL,             -- long positive, short negative
    cost           TEXT NOT NULL,             -- of the open quantity; the average is derived
    realized_pnl   TEXT NOT NULL,             -- before commission
    commission     TEXT NOT NULL,
    sequence       INTEGER NOT NULL,          -- fills booked
    reserved_buy   TEXT NOT NULL,             -- what open orders may still buy
    reserved_sell  TEXT NOT NULL,
    PRIMARY KEY (broker, symbol)
) STRICT, WITHOUT ROWID;

-- The limits in force, one truth for all workers. 'unlimited' lifts one by name.
CREATE TABLE risk_limits (
    symbol                 TEXT PRIMARY KEY,  -- '*': every symbol without a row of its own
    max_order_quantity     TEXT NOT NULL,
    max_order_notional     TEXT NOT NULL,
    max_position           TEXT NOT NULL,
    max_daily_loss         TEXT NOT NULL,
    price_collar_pct       TEXT NOT NULL,
    max_orders_per_second  TEXT NOT NULL,
    changed_by             TEXT NOT NULL,
    changed_us             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Risk-carrying requests of the last second, by instant of admission.
CREATE TABLE risk_rate (
    symbol  TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    orders  INTEGER NOT NULL,
    PRIMARY KEY (symbol, at_us)
) STRICT, WITHOUT ROWID;

-- Profit and loss at the start of the session: what the daily loss counts from.
CREATE TABLE risk_sessions (
    broker    TEXT NOT NULL,
    symbol    TEXT NOT NULL,
    start_us  INTEGER NOT NULL,
    base      TEXT NOT NULL,
    PRIMARY KEY (broker, symbol)
) STRICT, WITHOUT ROWID;

-- The simulated broker: how much of a quote's size is taken, by the quote's timestamp.
CREATE TABLE quote_spent (
    broker    TEXT NOT NULL,
    symbol    TEXT NOT NULL,
    side      TEXT NOT NULL,                  -- of the order that took it
    quote_us  INTEGER,
    quantity  TEXT NOT NULL,
    PRIMARY KEY (broker, symbol, side)
) STRICT, WITHOUT ROWID;
