-- A position for each strategy beside the account's, and what a fill came to in money. All of them are added up anew from
-- the events when the journal is opened next.
DROP TABLE positions;
CREATE TABLE positions (
    broker                text COLLATE "C" NOT NULL,
    symbol                text COLLATE "C" NOT NULL,
    strategy_id           text COLLATE "C" NOT NULL,  -- empty: the whole account's
    quantity              numeric NOT NULL,   -- long positive, short negative
    cost                  numeric NOT NULL,   -- of the open quantity; the average is derived
    realized_pnl          numeric NOT NULL,   -- before commission
    commission            numeric NOT NULL,
    unvalued_commissions  bigint NOT NULL,    -- fills whose commission could not be converted
    account_pnl           numeric NOT NULL,   -- realized less commission, each fill at the rate of its time
    sequence              bigint NOT NULL,    -- place of the last fill among those of the symbol at the broker
    closed_at             bigint NOT NULL,    -- place of the last fill that closed a part of it
    reserved_buy          numeric NOT NULL,   -- what open orders may still buy
    reserved_sell         numeric NOT NULL,
    open_orders           bigint NOT NULL,
    contract              text,               -- JSON, of the newest fill; NULL: a plain one
    PRIMARY KEY (broker, symbol, strategy_id)
) WITH (fillfactor = 50);
CREATE INDEX positions_strategy ON positions (strategy_id);

ALTER TABLE trades ADD COLUMN contract text;

-- What is to be computed before the journal is used.
CREATE TABLE upgrades (name text PRIMARY KEY);
INSERT INTO upgrades (name) VALUES ('positions');

-- Risk-carrying requests of the last second, by instant of admission.
DROP TABLE risk_rate;
CREATE TABLE risk_rate (
    scope   text COLLATE "C" NOT NULL,        -- all, strategy_id, strategy_symbol, symbol
    name    text COLLATE "C" NOT NULL,        -- which one; empty for all
    at_us   bigint NOT NULL,
    orders  bigint NOT NULL,
    PRIMARY KEY (scope, name, at_us)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What each book had earned when the session began; with a scope: when that was resumed after its daily loss.
ALTER TABLE risk_sessions ADD COLUMN strategy_id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE risk_sessions ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE risk_sessions ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE risk_sessions DROP CONSTRAINT risk_sessions_pkey;
ALTER TABLE risk_sessions ADD PRIMARY KEY (broker, symbol, strategy_id, scope, name);

-- What symbols were worth last, for sums over several of them.
CREATE TABLE risk_marks (
    broker  text COLLATE "C" NOT NULL,
    symbol  text COLLATE "C" NOT NULL,
    price   numeric NOT NULL,
    at_us   bigint,                           -- NULL: from the configuration, it does not age
    PRIMARY KEY (broker, symbol)
) WITH (fillfactor = 50);

-- What they were worth within the windows of moving collars.
CREATE TABLE risk_prices (
    broker  text COLLATE "C" NOT NULL,
    symbol  text COLLATE "C" NOT NULL,
    at_us   bigint NOT NULL,
    price   numeric NOT NULL
);
CREATE INDEX risk_prices_at ON risk_prices (broker, symbol, at_us);

-- Fills within the windows in which repeated execution counts them.
CREATE TABLE risk_fills (
    symbol       text COLLATE "C" NOT NULL,
    strategy_id  text COLLATE "C" NOT NULL,
    side         text NOT NULL,
    at_us        bigint NOT NULL,
    fills        bigint NOT NULL,
    PRIMARY KEY (symbol, strategy_id, side, at_us)
);

-- Who asked for the same last, within the windows of duplicates.
CREATE TABLE risk_contents (
    hash             bytea PRIMARY KEY,
    client_order_id  text NOT NULL,
    at_us            bigint NOT NULL
);
CREATE INDEX risk_contents_at ON risk_contents (at_us);

-- Calls to brokers that failed, within the windows of their circuit breakers.
CREATE TABLE risk_failures (
    broker    text COLLATE "C" NOT NULL,
    at_us     bigint NOT NULL,
    failures  bigint NOT NULL,
    PRIMARY KEY (broker, at_us)
);
