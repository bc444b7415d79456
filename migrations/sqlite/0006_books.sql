-- A position for each strategy beside the account's, and what a fill came to in money. All of them are added up anew from
-- the events when the journal is opened next: decimals are not SQL's to add.
CREATE TABLE new_positions (
    broker                TEXT NOT NULL,
    symbol                TEXT NOT NULL,
    strategy_id           TEXT NOT NULL,      -- empty: the whole account's
    quantity              TEXT NOT NULL,      -- long positive, short negative
    cost                  TEXT NOT NULL,      -- of the open quantity; the average is derived
    realized_pnl          TEXT NOT NULL,      -- before commission
    commission            TEXT NOT NULL,
    unvalued_commissions  INTEGER NOT NULL,   -- fills whose commission could not be converted
    account_pnl           TEXT NOT NULL,      -- realized less commission, each fill at the rate of its time
    sequence              INTEGER NOT NULL,   -- place of the last fill among those of the symbol at the broker
    closed_at             INTEGER NOT NULL,   -- place of the last fill that closed a part of it
    reserved_buy          TEXT NOT NULL,      -- what open orders may still buy
    reserved_sell         TEXT NOT NULL,
    open_orders           INTEGER NOT NULL,
    contract              TEXT,               -- JSON, of the newest fill; NULL: a plain one
    PRIMARY KEY (broker, symbol, strategy_id)
) STRICT, WITHOUT ROWID;
DROP TABLE positions;
ALTER TABLE new_positions RENAME TO positions;
CREATE INDEX positions_strategy ON positions (strategy_id);

ALTER TABLE trades ADD COLUMN contract TEXT;

-- What is to be computed before the journal is used.
CREATE TABLE upgrades (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO upgrades (name) VALUES ('positions');

-- Risk-carrying requests of the last second, by instant of admission.
DROP TABLE risk_rate;
CREATE TABLE risk_rate (
    scope   TEXT NOT NULL,                    -- all, strategy_id, strategy_symbol, symbol
    name    TEXT NOT NULL,                    -- which one; empty for all
    at_us   INTEGER NOT NULL,
    orders  INTEGER NOT NULL,
    PRIMARY KEY (scope, name, at_us)
) STRICT, WITHOUT ROWID;

-- What each book had earned when the session began; with a scope: when that was resumed after its daily loss.
CREATE TABLE new_sessions (
    scope        TEXT NOT NULL,               -- empty: of the book
    name         TEXT NOT NULL,
    broker       TEXT NOT NULL,
    symbol       TEXT NOT NULL,
    strategy_id  TEXT NOT NULL,               -- empty: the whole account's
    start_us     INTEGER NOT NULL,
    base         TEXT NOT NULL,
    PRIMARY KEY (broker, symbol, strategy_id, scope, name)
) STRICT, WITHOUT ROWID;
INSERT INTO new_sessions SELECT '', '', broker, symbol, '', start_us, base FROM risk_sessions;
DROP TABLE risk_sessions;
ALTER TABLE new_sessions RENAME TO risk_sessions;

-- What symbols were worth last, for sums over several of them.
CREATE TABLE risk_marks (
    broker  TEXT NOT NULL,
    symbol  TEXT NOT NULL,
    price   TEXT NOT NULL,
    at_us   INTEGER,                          -- NULL: from the configuration, it does not age
    PRIMARY KEY (broker, symbol)
) STRICT, WITHOUT ROWID;

-- What they were worth within the windows of moving collars.
CREATE TABLE risk_prices (
    broker  TEXT NOT NULL,
    symbol  TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    price   TEXT NOT NULL
) STRICT;
CREATE INDEX risk_prices_at ON risk_prices (broker, symbol, at_us);

-- Fills within the windows in which repeated execution counts them.
CREATE TABLE risk_fills (
    symbol       TEXT NOT NULL,
    strategy_id  TEXT NOT NULL,
    side         TEXT NOT NULL,
    at_us        INTEGER NOT NULL,
    fills        INTEGER NOT NULL,
    PRIMARY KEY (symbol, strategy_id, side, at_us)
) STRICT, WITHOUT ROWID;

-- Who asked for the same last, within the windows of duplicates.
CREATE TABLE risk_contents (
    hash             BLOB PRIMARY KEY,
    client_order_id  TEXT NOT NULL,
    at_us            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX risk_contents_at ON risk_contents (at_us);

-- Calls to brokers that failed, within the windows of their circuit breakers.
CREATE TABLE risk_failures (
    broker    TEXT NOT NULL,
    at_us     INTEGER NOT NULL,
    failures  INTEGER NOT NULL,
    PRIMARY KEY (broker, at_us)
) STRICT, WITHOUT ROWID;
