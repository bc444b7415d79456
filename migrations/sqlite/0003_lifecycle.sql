-- The whole life of an order: when time ends it, and trades that were corrected or taken back.

-- From when on nothing of it is executed (GTD, DAY); NULL: time does not end it.
ALTER TABLE orders ADD COLUMN ends_us INTEGER;
CREATE INDEX orders_ending ON orders (ends_us)
    WHERE ends_us IS NOT NULL AND status IN ('Acknowledged', 'PartiallyFilled');

-- Rows are only ever added: revision 0 is the fill, each correction or bust is one more. The highest counts.
CREATE TABLE revised_trades (
    order_id           TEXT NOT NULL,
    trade_id           TEXT NOT NULL,
    revision           INTEGER NOT NULL,
    broker             TEXT NOT NULL,
    symbol             TEXT NOT NULL,
    side               TEXT NOT NULL,
    quantity           TEXT,                  -- NULL: taken back
    price              TEXT,
    commission         TEXT,
    commission_asset   TEXT,
    commission_quote   TEXT,                  -- in the quote currency, where that is known
    executed_us        INTEGER NOT NULL,      -- or corrected, or taken back; by the broker's clock
    position_sequence  INTEGER NOT NULL,
    PRIMARY KEY (order_id, trade_id, revision)
) STRICT, WITHOUT ROWID;
INSERT INTO revised_trades
SELECT order_id, trade_id, 0, broker, symbol, side, quantity, price, commission, commission_asset,
       (SELECT e.value -> 'details' -> 'commission' ->> 'quote_value'
        FROM order_commits c, json_each(c.events) e
        WHERE c.order_id = trades.order_id AND e.value ->> 'type' = 'Fill'
          AND e.value -> 'details' ->> 'trade_id' = trades.trade_id),
       executed_us, position_sequence
FROM trades;
DROP TABLE trades;
ALTER TABLE revised_trades RENAME TO trades;

-- The place of the last fill that closed a part of the position; -1: to be found out from the trades, which whoever
-- brings the schema up to date does next.
ALTER TABLE positions ADD COLUMN closed_at INTEGER NOT NULL DEFAULT 0;
UPDATE positions SET closed_at = -1;
