-- What holds for every order: each change of the trading state and of the limits. Rows are only ever added.
CREATE TABLE control_events (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type     text NOT NULL,
    by_whom  text NOT NULL,
    why      text NOT NULL,
    at_us    bigint NOT NULL,
    event    text NOT NULL                     -- JSON
);

-- Those that nobody has marked as published.
CREATE TABLE outbox_control (seq bigint PRIMARY KEY);

-- Counts the changes: who has read what holds under a number need not read it again while the number stays.
CREATE TABLE control_revision (
    id        integer PRIMARY KEY CHECK (id = 1),
    revision  bigint NOT NULL
);
INSERT INTO control_revision (id, revision) VALUES (1, 0);

-- The trading state of each scope that somebody has ever switched; every other one is ACTIVE.
CREATE TABLE trading_state (
    scope  text COLLATE "C" NOT NULL,          -- all, broker, strategy_id, symbol, strategy_symbol
    name   text COLLATE "C" NOT NULL,          -- which one; empty for all
    control text COLLATE "C" NOT NULL,         -- whose breach it is; empty: what people say
    event  text NOT NULL,                      -- JSON: the switch that counts
    PRIMARY KEY (scope, name, control)
);

-- How the circuit of each broker stands that has ever opened.
CREATE TABLE circuits (
    broker  text COLLATE "C" PRIMARY KEY,
    event   text NOT NULL                     -- JSON: how it stands
);

-- The limits in force, one JSON row each; how they came to be is an event like every later change.
CREATE TABLE new_limits (
    name  text COLLATE "C" PRIMARY KEY,        -- what the row is for
    row   text NOT NULL                        -- JSON
);
INSERT INTO new_limits (name, row)
SELECT 'symbol ' || symbol, json_build_object('symbol', symbol, 'max_order_quantity', max_order_quantity, 'max_order_notional', max_order_notional, 'max_position', max_position, 'max_daily_loss', max_daily_loss, 'price_collar_pct', price_collar_pct, 'max_orders_per_second', max_orders_per_second)::text
FROM risk_limits;
INSERT INTO control_events (type, by_whom, why, at_us, event)
SELECT 'limits', min(changed_by), 'as they stood before changes were journaled', max(changed_us),
       json_build_object('type', 'limits', 'by', min(changed_by), 'why', 'as they stood before changes were journaled',
                         'rows', (SELECT json_agg(row::json) FROM new_limits))::text
FROM risk_limits HAVING count(*) > 0;
UPDATE control_revision SET revision = (SELECT count(*) FROM control_events);
DROP TABLE risk_limits;
ALTER TABLE new_limits RENAME TO risk_limits;
ALTER INDEX new_limits_pkey RENAME TO risk_limits_pkey;
