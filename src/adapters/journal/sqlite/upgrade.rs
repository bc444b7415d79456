//! What a migration leaves to be computed: decimals are not SQL's to add.

use sqlx::{Row, SqliteConnection};

use crate::domain::order_type::Side;
use crate::domain::position::Position;
use crate::domain::trade::{TradeChange, Traded};

use crate::adapters::journal::rows;

/// Which fill closed a part of each position last, for journals that are older than the column. Such a journal has fills
/// alone: nothing of it was corrected or taken back.
pub(super) async fn find_closings(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let unknown =
        sqlx::query("SELECT broker, symbol FROM positions WHERE closed_at < 0").fetch_all(&mut *conn).await?;
    for row in &unknown {
        let (broker, symbol): (&str, &str) = (row.try_get("broker")?, row.try_get("symbol")?);
        let trades = "SELECT * FROM trades WHERE broker = ? AND symbol = ? ORDER BY position_sequence";
        let trades = sqlx::query(trades).bind(broker).bind(symbol).fetch_all(&mut *conn).await?;
        let mut position = Position::FLAT;
        for trade in &trades {
            let side: &str = trade.try_get("side")?;
            let side = if side == Side::Buy.as_str() { Side::Buy } else { Side::Sell };
            let now = Traded {
                quantity: rows::parse(trade, "quantity")?,
                price: rows::parse(trade, "price")?,
                commission: None,
            };
            let change = TradeChange {
                trade_id: "",
                was: None,
                now: Some(now),
                at: rows::timestamp(trade, "executed_us")?,
                position_sequence: position.sequence + 1,
            };
            position = position
                .booked(side, &change)
                .ok_or_else(|| rows::unreadable("quantity", "its trades are too large to add"))?;
        }
        let found = "UPDATE positions SET closed_at = ? WHERE broker = ? AND symbol = ? AND closed_at < 0";
        let closed_at = rows::signed(position.closed_at);
        sqlx::query(found).bind(closed_at).bind(broker).bind(symbol).execute(&mut *conn).await?;
    }
    Ok(())
}
