//! The journals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use order_execution::domain::time::Timestamp;
use order_execution::ports::clock::Clock;
use order_execution::ports::journal::JournalObserver;
use uuid::Uuid;

/// A clock that goes on only when it is moved.
struct Standing(AtomicU64);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }

    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

struct Nobody;

impl JournalObserver for Nobody {
    fn committed(&self, _inputs: usize, _took: Duration) {}
}

mod sqlite {
    use std::str::FromStr;

    use order_execution::adapters::journal::sqlite::{SqliteJournal, SqliteSettings};
    use order_execution::domain::decide::Rules;
    use sqlx::{ConnectOptions, Connection};
    use tempfile::TempDir;

    use super::*;
    use crate::contracts::journal::{Handle, JournalUnderTest, journal_rules};

    struct Sqlite {
        folder: TempDir,
        clock: Arc<Standing>,
    }

    impl Sqlite {
        async fn new() -> Self {
            let clock = Arc::new(Standing(AtomicU64::new(1_800_000_000_000_000)));
            Self { folder: tempfile::tempdir().unwrap(), clock }
        }

        fn url(&self) -> String {
            format!("sqlite://{}/journal.db", self.folder.path().display())
        }
    }

    impl JournalUnderTest for Sqlite {
        async fn open(&self, rules: Rules) -> Handle {
            let settings = SqliteSettings { url: self.url(), readers: 2 };
            let opened =
                SqliteJournal::open(&settings, Arc::new(rules), self.clock.clone(), Arc::new(Nobody)).await;
            let journal = Arc::new(opened.unwrap().0);
            Handle { journal: journal.clone(), reader: journal }
        }

        async fn pass(&self, time: Duration) {
            self.clock.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
        }

        fn now(&self) -> Timestamp {
            self.clock.now()
        }

        async fn refuse_to_write(&self, client_order_id: &str) {
            let mut other =
                sqlx::sqlite::SqliteConnectOptions::from_str(&self.url()).unwrap().connect().await.unwrap();
            // A row that collides with every other one.
            let trap = format!(
                "CREATE UNIQUE INDEX trap ON orders (CASE WHEN client_order_id IN ('c0', '{client_order_id}') THEN 1 END)"
            );
            sqlx::query(sqlx::AssertSqlSafe(trap)).execute(&mut other).await.unwrap();
            other.close().await.unwrap();
        }
    }

    journal_rules!(as_tests, crate::contracts::journal, Sqlite::new());
}

mod postgres {
    use order_execution::adapters::journal::postgres::{
        PostgresJournal, PostgresSettings, Timekeeper, Timeouts,
    };
    use order_execution::domain::decide::{Decision, Effect, Rules};
    use order_execution::domain::order::OrderSpec;
    use order_execution::domain::profile::Profile;
    use order_execution::domain::risk::Limit;
    use order_execution::ports::journal::JournalError;
    use sqlx::{Connection, PgConnection};
    use std::path::Path;

    use super::*;
    use crate::contracts::fixture;
    use crate::contracts::journal::outbox::{EVER, an_outcome};
    use crate::contracts::journal::{Handle, JournalUnderTest, journal_rules};
    use crate::harness::{Database, Place, services};

    /// A database of its own, as long as it is under test.
    struct Postgres {
        place: Place,
        clock: Arc<Standing>,
    }

    impl Postgres {
        async fn new() -> Self {
            let place = services::place(Database::Postgres, Path::new("")).await;
            Self { place, clock: Arc::new(Standing(AtomicU64::new(1_800_000_000_000_000))) }
        }

        async fn open_with(&self, rules: Rules, statement: Duration) -> Handle {
            let settings = PostgresSettings {
                url: self.place.url(),
                readers: 2,
                timeouts: Timeouts::of(statement),
                time: Timekeeper::Given(self.clock.clone()),
            };
            let opened =
                PostgresJournal::open(&settings, Arc::new(rules), self.clock.clone(), Arc::new(Nobody)).await;
            let journal = Arc::new(opened.unwrap().0);
            Handle { journal: journal.clone(), reader: journal }
        }
    }

    impl Drop for Postgres {
        fn drop(&mut self) {
            self.place.remove();
        }
    }

    impl JournalUnderTest for Postgres {
        async fn open(&self, rules: Rules) -> Handle {
            self.open_with(rules, Duration::from_secs(20)).await
        }

        async fn pass(&self, time: Duration) {
            self.clock.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
        }

        fn now(&self) -> Timestamp {
            self.clock.now()
        }

        async fn refuse_to_write(&self, client_order_id: &str) {
            let mut other = PgConnection::connect(&self.place.url()).await.unwrap();
            // A row that collides with every other one.
            let trap = format!(
                "CREATE UNIQUE INDEX trap ON orders ((CASE WHEN client_order_id IN ('c0', '{client_order_id}') THEN 1 END))"
            );
            sqlx::query(sqlx::AssertSqlSafe(trap)).execute(&mut other).await.unwrap();
            other.close().await.unwrap();
        }
    }

    journal_rules!(as_tests, crate::contracts::journal, Postgres::new());

    /// A row that somebody has locked holds up what is about it, and nothing else of its batch.
    #[tokio::test]
    async fn what_waits_for_a_lock_does_not_hold_up_its_neighbours() {
        let under = Postgres::new().await;
        let handle = under.open_with(fixture::rules(Profile::Embedded), Duration::from_secs(1)).await;
        let row = fixture::limits(Limit::Unlimited);
        handle.journal.init_limits(&[row]).await.unwrap();
        let order = |n: u64, symbol: &str| {
            let spec = OrderSpec { symbol: fixture::symbol(symbol), ..fixture::limit_order(n, "1", "90") };
            fixture::submit("a", n, spec)
        };
        let admitted = |decided: &[Result<Decision, JournalError>]| -> Vec<bool> {
            let is_admitted = |one: &Result<Decision, JournalError>| match one {
                Ok(decision) => matches!(decision.effect, Effect::Submit { .. }),
                Err(JournalError::Unavailable { .. }) => false,
                Err(error) => panic!("{error}"),
            };
            decided.iter().map(is_admitted).collect()
        };
        // Its reservation makes the position's row.
        let first = handle.journal.transact(vec![order(0, "BTCUSDT")]).await.unwrap();
        assert_eq!(admitted(&first), [true]);
        let mut other = PgConnection::connect(&under.place.url()).await.unwrap();
        let mut holding = other.begin().await.unwrap();
        let sql = "SELECT 1 FROM positions WHERE symbol = 'BTCUSDT' FOR UPDATE";
        assert_eq!(sqlx::query(sql).fetch_all(&mut *holding).await.unwrap().len(), 1);
        let orders: Vec<_> = (1..=6).map(|n| order(n, if n == 3 { "BTCUSDT" } else { "ETHUSDT" })).collect();
        let decided = handle.journal.transact(orders.clone()).await.unwrap();
        assert_eq!(admitted(&decided), [true, true, false, true, true, true]);
        holding.rollback().await.unwrap();
        let decided = handle.journal.transact(vec![orders[2].clone()]).await.unwrap();
        assert_eq!(admitted(&decided), [true]);
    }

    /// It may yet be rolled back: whoever relied on it would let an outcome be told twice.
    #[tokio::test]
    async fn what_another_is_marking_is_not_marked_yet() {
        let under = Postgres::new().await;
        let (handle, marks) = an_outcome(&under).await;
        let mut other = PgConnection::connect(&under.place.url()).await.unwrap();
        let mut marking = other.begin().await.unwrap();
        sqlx::query("DELETE FROM outbox_outcomes").execute(&mut *marking).await.unwrap();
        assert_eq!(handle.journal.mark_published(marks.clone()).await.unwrap(), marks.outcomes);
        marking.rollback().await.unwrap();
        let offered = || async { handle.reader.unpublished_outcomes(EVER, 10).await.unwrap().len() };
        assert_eq!(offered().await, 1);
        assert_eq!(handle.journal.mark_published(marks.clone()).await.unwrap(), []);
        assert_eq!(offered().await, 0);
    }
}
