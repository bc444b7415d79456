-- What holds for every order: each change of the trading state and of the limits. Rows are only ever added.
CREATE TABLE control_events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    type     TEXT NOT NULL,
    by_whom  TEXT NOT NULL,
    why      TEXT NOT NULL,
    at_us    INTEGER NOT NULL,
    event    TEXT NOT NULL                     -- JSON
) STRICT;

-- Those that nobody has marked as published.
CREATE TABLE outbox_control (seq INTEGER PRIMARY KEY) STRICT;

-- Counts the changes: who has read what holds under a number need not read it again while the number stays.
CREATE TABLE control_revision (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    revision  INTEGER NOT NULL
) STRICT;
INSERT INTO control_revision (id, revision) VALUES (1, 0);

-- The trading state of each scope that somebody has ever switched; every other one is ACTIVE.
CREATE TABLE trading_state (
    scope  TEXT NOT NULL,                      -- all, broker, strategy_id, symbol, strategy_symbol
    name   TEXT NOT NULL,                      -- which one; empty for all
    control TEXT NOT NULL,                     -- whose breach it is; empty: what people say
    event  TEXT NOT NULL,                      -- JSON: the switch that counts
    PRIMARY KEY (scope, name, control)
) STRICT, WITHOUT ROWID;

-- How the circuit of each broker stands that has ever opened.
CREATE TABLE circuits (
    broker  TEXT PRIMARY KEY,
    event   TEXT NOT NULL                     -- JSON: how it stands
) STRICT, WITHOUT ROWID;

-- The limits in force, one JSON row each; how they came to be is an event like every later change.
CREATE TABLE new_limits (
    name  TEXT PRIMARY KEY,                    -- what the row is for
    row   TEXT NOT NULL                        -- JSON
) STRICT, WITHOUT ROWID;
INSERT INTO new_limits (name, row)
SELECT 'symbol ' || symbol, json_object('symbol', symbol, 'max_order_quantity', max_order_quantity, 'max_order_notional', max_order_notional, 'max_position', max_position, 'max_daily_loss', max_daily_loss, 'price_collar_pct', price_collar_pct, 'max_orders_per_second', max_orders_per_second)
FROM risk_limits;
INSERT INTO control_events (type, by_whom, why, at_us, event)
SELECT 'limits', min(changed_by), 'as they stood before changes were journaled', max(changed_us),
       json_object('type', 'limits', 'by', min(changed_by), 'why', 'as they stood before changes were journaled',
                   'rows', (SELECT json_group_array(json(row)) FROM new_limits))
FROM risk_limits HAVING count(*) > 0;
UPDATE control_revision SET revision = (SELECT count(*) FROM control_events);
DROP TABLE risk_limits;
ALTER TABLE new_limits RENAME TO risk_limits;
