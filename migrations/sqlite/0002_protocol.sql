-- What recovery goes by: who still has to do something, and what brokers were asked for and told.

-- 1: the request that made it has its outcome.
ALTER TABLE orders ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;
-- 1: somebody has to do something yet: its request has no outcome, or a command is under way.
ALTER TABLE orders ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
-- 1: what became of it at the broker cannot be found out.
ALTER TABLE orders ADD COLUMN parked INTEGER NOT NULL DEFAULT 0;
UPDATE orders SET answered = 1 WHERE EXISTS (
    SELECT 1 FROM outcomes o WHERE o.lane = orders.lane AND o.entry_ms = orders.entry_ms
    AND o.entry_seq = orders.entry_seq AND o.hash = orders.request_hash);
UPDATE orders SET open = 1 WHERE answered = 0 OR (status IN ('Acknowledged', 'PartiallyFilled') AND state ->> 'pending_cancel');
CREATE INDEX orders_open ON orders (admission) WHERE open = 1;
CREATE INDEX orders_parked ON orders (admission) WHERE parked = 1;

-- 1: it has no outcome yet.
ALTER TABLE requests ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET open = 1 WHERE NOT EXISTS (
    SELECT 1 FROM outcomes o WHERE o.lane = requests.lane AND o.entry_ms = requests.entry_ms
    AND o.entry_seq = requests.entry_seq AND o.hash = requests.hash);
CREATE INDEX requests_open ON requests (received_us) WHERE open = 1;

-- JSON: what became of each order that a cancel_all meant.
ALTER TABLE outcomes ADD COLUMN details TEXT;

-- The orders that a cancel_all means: its set is fixed when it is admitted.
CREATE TABLE cancel_targets (
    lane             TEXT NOT NULL,
    entry_ms         INTEGER NOT NULL,
    entry_seq        INTEGER NOT NULL,
    hash             BLOB NOT NULL,
    place            INTEGER NOT NULL,        -- from 0, in order of admission
    order_id         TEXT NOT NULL,
    client_order_id  TEXT NOT NULL,
    settled          INTEGER NOT NULL,
    refusal          TEXT,                    -- why it was not cancelled
    PRIMARY KEY (lane, entry_ms, entry_seq, hash, order_id)
) STRICT, WITHOUT ROWID;

-- What brokers have and the journal has not, or otherwise: never guessed at.
CREATE TABLE broker_differences (
    broker    TEXT NOT NULL,
    kind      TEXT NOT NULL,                  -- external_order, external_fill, unknown_to_broker, cannot_be_booked, …
    key       TEXT NOT NULL,
    details   TEXT NOT NULL,
    first_us  INTEGER NOT NULL,
    PRIMARY KEY (broker, kind, key)
) STRICT, WITHOUT ROWID;

-- How far each broker's feed is merged.
CREATE TABLE broker_feeds (
    broker      TEXT PRIMARY KEY,
    cursor      INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Work that one worker at a time does.
CREATE TABLE leases (
    name      TEXT PRIMARY KEY,
    owner     TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    until_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
