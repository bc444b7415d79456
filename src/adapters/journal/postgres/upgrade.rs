//! What a migration leaves to be computed.

use sqlx::{Connection, PgConnection};

use crate::adapters::journal::rows;
use crate::domain::ids::IdSource;
use crate::domain::ledger::Ledger;
use crate::domain::rebuild::Rebuild;
use crate::domain::time::Timestamp;

use super::load::orders_where;
use super::risk::put_positions;

/// Orders read at a time.
const PAGE: i64 = 500;

/// Adds up all books anew, for a journal that is older than they are.
pub(super) async fn rebuild_positions(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    // Another worker may start, too: it waits here, and finds nothing to do.
    let due = "SELECT name FROM upgrades WHERE name = 'positions' FOR UPDATE";
    if sqlx::query(due).fetch_optional(&mut *transaction).await?.is_some() {
        let ledger = read(&mut transaction).await?;
        sqlx::query("DELETE FROM positions").execute(&mut *transaction).await?;
        put_positions(&mut transaction, ledger.positions.iter().collect()).await?;
        sqlx::query("DELETE FROM upgrades WHERE name = 'positions'").execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn read(conn: &mut PgConnection) -> Result<Ledger, sqlx::Error> {
    let (mut rebuild, mut after) = (Rebuild::default(), 0_i64);
    loop {
        let page = orders_where!("admission > $1 ORDER BY admission LIMIT $2");
        let page = sqlx::query(page).bind(after).bind(PAGE).fetch_all(&mut *conn).await?;
        for row in &page {
            let record = rows::order(row)?;
            after = rows::signed(record.admission);
            let sql = "SELECT events FROM order_commits WHERE order_id = $1 ORDER BY first_version";
            let id = record.order.spec.id.to_string();
            let mut events = Vec::new();
            for commit in sqlx::query(sql).bind(id).fetch_all(&mut *conn).await? {
                events.extend(rows::events(&commit)?);
            }
            let added = rebuild.add(&record.order, &events);
            added.ok_or_else(|| rows::unreadable("quantity", "reservations are too large to add"))?;
        }
        if page.is_empty() {
            return rows::rebuilt(
                rebuild,
                Ledger::new(Timestamp::from_micros(0), IdSource::new(uuid::Uuid::nil())),
            );
        }
    }
}
