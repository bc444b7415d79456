//! What a migration leaves to be computed: decimals are not SQL's to add.

use sqlx::{Connection, SqliteConnection};

use crate::adapters::journal::rows;
use crate::domain::ids::IdSource;
use crate::domain::ledger::Ledger;
use crate::domain::rebuild::Rebuild;
use crate::domain::time::Timestamp;

use super::load::orders_where;
use super::risk::Statements;

/// Orders read at a time.
const PAGE: i64 = 500;

/// Adds up all books anew, for a journal that is older than they are.
pub(super) async fn rebuild_positions(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let due = "SELECT EXISTS (SELECT 1 FROM upgrades WHERE name = 'positions')";
    if !sqlx::query_scalar::<_, bool>(due).fetch_one(&mut *conn).await? {
        return Ok(());
    }
    // Another worker may start, too.
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    if sqlx::query_scalar::<_, bool>(due).fetch_one(&mut *transaction).await? {
        let ledger = read(&mut transaction).await?;
        sqlx::query("DELETE FROM positions").execute(&mut *transaction).await?;
        Statements::new().append(&mut transaction, &ledger).await?;
        sqlx::query("DELETE FROM upgrades WHERE name = 'positions'").execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

async fn read(conn: &mut SqliteConnection) -> Result<Ledger, sqlx::Error> {
    let (mut rebuild, mut after) = (Rebuild::default(), 0_i64);
    loop {
        let page = orders_where!("admission > ? ORDER BY admission LIMIT ?");
        let page = sqlx::query(page).bind(after).bind(PAGE).fetch_all(&mut *conn).await?;
        for row in &page {
            let record = rows::order(row)?;
            after = rows::signed(record.admission);
            let sql = "SELECT events FROM order_commits WHERE order_id = ? ORDER BY first_version";
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
