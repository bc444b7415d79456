//! The third of the four steps: everything that was decided, a statement a table, before the commit. Rows go in by
//! the order of their keys, so that two transactions which wait for each other's names cannot wait in a circle.

mod orders;
mod trades;

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::PgConnection;

use crate::adapters::journal::rows::signed;
use crate::domain::ledger::{Commit, Ledger, RequestRecord};
use crate::domain::order::ContentHash;
use crate::domain::request::{Outcome, OutcomeResult};

use super::load::{Known, by_outcome, by_request, column};
use orders::{append_orders, update_orders};
use trades::append_trades;

/// Another worker has journaled a request that this transaction took for new.
pub(super) const RACED: &str = "another worker has journaled one of these requests";

/// PostgreSQL's text has no NUL; what people and brokers wrote may have.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn encode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

pub(super) async fn append(
    conn: &mut PgConnection,
    ledger: &Ledger,
    known: &Known,
) -> Result<(), sqlx::Error> {
    append_orders(conn, ledger).await?;
    update_orders(conn, ledger).await?;
    append_commits(conn, &ledger.changes.commits).await?;
    append_requests(conn, ledger, known).await?;
    append_targets(conn, ledger).await?;
    append_outcomes(conn, ledger).await?;
    append_attempts(conn, ledger).await?;
    append_trades(conn, ledger).await?;
    super::risk::append(conn, ledger).await?;
    append_feeds(conn, ledger).await?;
    super::control::append(conn, ledger).await
}

async fn append_commits(conn: &mut PgConnection, commits: &[Arc<Commit>]) -> Result<(), sqlx::Error> {
    if commits.is_empty() {
        return Ok(());
    }
    let events = commits.iter().map(|commit| commit.events_json().map(|json| json.to_string()));
    let events = events.collect::<Result<Vec<_>, _>>().map_err(encode)?;
    let sql = "WITH added AS (INSERT INTO order_commits (order_id, first_version, version, at_us, events) \
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) RETURNING seq) \
               INSERT INTO outbox_commits SELECT seq FROM added";
    sqlx::query(sql)
        .bind(column!(commits, |commit| commit.order_id.to_string()))
        .bind(column!(commits, |commit| signed(commit.first_version())))
        .bind(column!(commits, |commit| signed(commit.version())))
        .bind(column!(commits, |commit| commit.events.last().map_or(0, |event| event.timestamp.micros())))
        .bind(events)
        .execute(conn)
        .await
        .map(drop)
}

async fn append_requests(conn: &mut PgConnection, ledger: &Ledger, known: &Known) -> Result<(), sqlx::Error> {
    let mut seen: HashSet<(&_, &ContentHash)> = HashSet::new();
    let mut new: Vec<&RequestRecord> = ledger.changes.requests.iter().collect();
    new.retain(|r| !known.contains(&(r.key.clone(), r.hash)) && seen.insert((&r.key, &r.hash)));
    if new.is_empty() {
        return Ok(());
    }
    new.sort_by(|a, b| (&a.key, a.hash.0).cmp(&(&b.key, b.hash.0)));
    let sql = "INSERT INTO requests (lane, entry_ms, entry_seq, hash, kind, order_id, attempt_version, received_us, open) \
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], \
               $7::bigint[], $8::bigint[], $9::boolean[]) ON CONFLICT DO NOTHING";
    let keys = column!(new, |request| &request.key);
    let added = by_request(sqlx::query(sql), &keys)
        .bind(column!(new, |request| &request.hash.0[..]))
        .bind(column!(new, |request| request.kind.as_str()))
        .bind(column!(new, |request| request.order_id.map(|id| id.to_string())))
        .bind(column!(new, |request| request.attempt_version.map(signed)))
        .bind(column!(new, |request| request.received_at.micros()))
        .bind(column!(new, |request| request.open))
        .execute(conn)
        .await?;
    // What another worker journaled since has to be seen before anything is decided about it.
    if added.rows_affected() < new.len() as u64 {
        return Err(sqlx::Error::InvalidArgument(RACED.to_owned()));
    }
    Ok(())
}

async fn append_targets(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let mut targets: Vec<_> = ledger.changes.targets.iter().collect();
    // The last word on each counts, and one statement may say only one.
    targets.reverse();
    targets.sort_by(|a, b| (&a.0, a.1.0, a.2.order_id).cmp(&(&b.0, b.1.0, b.2.order_id)));
    targets.dedup_by(|a, b| (&a.0, a.1, a.2.order_id) == (&b.0, b.1, b.2.order_id));
    if targets.is_empty() {
        return Ok(());
    }
    let place = |(key, hash, target): &(_, _, crate::domain::ledger::Target)| {
        let all = ledger.targets.get(&(Clone::clone(key), *hash));
        let place = all.and_then(|all| all.iter().position(|t| t.order_id == target.order_id));
        i64::try_from(place.unwrap_or(0)).unwrap_or(i64::MAX)
    };
    let sql = "INSERT INTO cancel_targets (lane, entry_ms, entry_seq, hash, place, order_id, client_order_id, settled, \
               refusal) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::text[], \
               $7::text[], $8::boolean[], $9::text[]) ON CONFLICT (lane, entry_ms, entry_seq, hash, order_id) \
               DO UPDATE SET settled = excluded.settled, refusal = excluded.refusal";
    let keys = column!(targets, |target| &target.0);
    by_request(sqlx::query(sql), &keys)
        .bind(column!(targets, |target| &target.1.0[..]))
        .bind(column!(targets, |target| place(target)))
        .bind(column!(targets, |target| target.2.order_id.to_string()))
        .bind(column!(targets, |target| target.2.client_order_id.as_str()))
        .bind(column!(targets, |target| target.2.settled))
        .bind(column!(targets, |target| target.2.refusal.as_deref().map(clean)))
        .execute(conn)
        .await
        .map(drop)
}

async fn append_outcomes(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let mut outcomes: Vec<&Outcome> = ledger.changes.outcomes.iter().collect();
    if outcomes.is_empty() {
        return Ok(());
    }
    outcomes.sort_by(|a, b| (&a.key, a.hash.0).cmp(&(&b.key, b.hash.0)));
    let details = outcomes.iter().map(|outcome| match &outcome.result {
        OutcomeResult::Swept(swept) => serde_json::to_string(swept).map(Some).map_err(encode),
        _ => Ok(None),
    });
    let details = details.collect::<Result<Vec<_>, _>>()?;
    let sql = "WITH added AS (INSERT INTO outcomes (lane, entry_ms, entry_seq, hash, request, order_id, client_order_id, \
               order_version, status, code, error, payload, details, at_us) \
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::text[], $7::text[], \
               $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], $14::bigint[]) \
               ON CONFLICT DO NOTHING RETURNING seq) INSERT INTO outbox_outcomes SELECT seq FROM added";
    let keys = column!(outcomes, |outcome| &outcome.key);
    by_request(sqlx::query(sql), &keys)
        .bind(column!(outcomes, |outcome| &outcome.hash.0[..]))
        .bind(column!(outcomes, |outcome| outcome.request.as_str()))
        .bind(column!(outcomes, |outcome| outcome.order_id.map(|id| id.to_string())))
        .bind(column!(outcomes, |outcome| outcome.client_order_id.as_ref().map(|id| id.as_str())))
        .bind(column!(outcomes, |outcome| signed(outcome.order_version)))
        .bind(column!(outcomes, |outcome| match &outcome.result {
            OutcomeResult::Completed(status) => Some(status.as_str()),
            OutcomeResult::Failed { status, .. } => status.map(|status| status.as_str()),
            OutcomeResult::Swept(_) => None,
        }))
        .bind(column!(outcomes, |outcome| match &outcome.result {
            OutcomeResult::Failed { refusal, .. } => Some(refusal.code.as_str()),
            _ => None,
        }))
        .bind(column!(outcomes, |outcome| match &outcome.result {
            OutcomeResult::Failed { refusal, .. } => Some(clean(&refusal.reason)),
            _ => None,
        }))
        .bind(column!(outcomes, |outcome| match &outcome.result {
            OutcomeResult::Failed { payload, .. } => payload.as_deref(),
            _ => None,
        }))
        .bind(details)
        .bind(column!(outcomes, |outcome| outcome.timestamp.micros()))
        .execute(&mut *conn)
        .await?;
    // A command whose attempt was journaled before has its end now.
    let open = |outcome: &&&Outcome| {
        ledger.request_of(&outcome.key, &outcome.hash).is_some_and(|request| request.open)
    };
    let ended: Vec<_> =
        outcomes.iter().filter(open).map(|outcome| (outcome.key.clone(), outcome.hash)).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE requests SET open = false FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS k (lane, ms, seq, hash) \
               WHERE requests.lane = k.lane AND requests.entry_ms = k.ms AND requests.entry_seq = k.seq \
               AND requests.hash = k.hash";
    by_outcome(sqlx::query(sql), &ended).execute(conn).await.map(drop)
}

async fn append_attempts(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let attempts = &ledger.changes.attempts;
    if !attempts.is_empty() {
        let sql = "INSERT INTO attempts (order_id, kind, number, epoch, journaled_us) \
                   SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])";
        sqlx::query(sql)
            .bind(column!(attempts, |attempt| attempt.order_id.to_string()))
            .bind(column!(attempts, |attempt| attempt.kind.as_str()))
            .bind(column!(attempts, |attempt| signed(attempt.number)))
            .bind(column!(attempts, |attempt| signed(attempt.epoch)))
            .bind(column!(attempts, |attempt| attempt.journaled_at.micros()))
            .execute(&mut *conn)
            .await?;
    }
    let answers = &ledger.changes.answers;
    if answers.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE attempts SET answer = v.answer, answered_us = v.at_us \
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[]) \
               AS v (order_id, kind, number, answer, at_us) \
               WHERE attempts.order_id = v.order_id AND attempts.kind = v.kind AND attempts.number = v.number";
    sqlx::query(sql)
        .bind(column!(answers, |attempt| attempt.order_id.to_string()))
        .bind(column!(answers, |attempt| attempt.kind.as_str()))
        .bind(column!(answers, |attempt| signed(attempt.number)))
        .bind(column!(answers, |attempt| attempt.answer.as_ref().map(|answered| answered.answer)))
        .bind(column!(answers, |attempt| attempt.answer.as_ref().map(|answered| answered.at.micros())))
        .execute(conn)
        .await
        .map(drop)
}

/// What brokers told that concerns no order: how far they were heard, and what the journal has not.
async fn append_feeds(conn: &mut PgConnection, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let now = ledger.now.micros();
    let mut differences: Vec<_> = ledger.changes.differences.iter().collect();
    differences.sort_by(|a, b| (&a.broker, a.kind, &a.key).cmp(&(&b.broker, b.kind, &b.key)));
    if !differences.is_empty() {
        let sql = "INSERT INTO broker_differences (broker, kind, key, details, first_us) SELECT v.*, $5 \
                   FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS v ON CONFLICT DO NOTHING";
        sqlx::query(sql)
            .bind(column!(differences, |difference| difference.broker.as_str()))
            .bind(column!(differences, |difference| difference.kind))
            .bind(column!(differences, |difference| clean(&difference.key)))
            .bind(column!(differences, |difference| clean(&difference.details)))
            .bind(now)
            .execute(&mut *conn)
            .await?;
    }
    for (broker, cursor) in &ledger.changes.cursors {
        let sql = "INSERT INTO broker_feeds (broker, cursor, updated_us) VALUES ($1, $2, $3) ON CONFLICT (broker) DO UPDATE \
                   SET cursor = greatest(broker_feeds.cursor, excluded.cursor), updated_us = excluded.updated_us";
        let query = sqlx::query(sql).bind(broker.as_str()).bind(signed(*cursor)).bind(now);
        query.execute(&mut *conn).await?;
    }
    Ok(())
}
