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
    use futures_util::future::join_all;
    use order_execution::adapters::journal::postgres::{
        PostgresJournal, PostgresSettings, Timekeeper, Timeouts,
    };
    use order_execution::domain::decide::Rules;
    use order_execution::domain::profile::Profile;
    use order_execution::domain::risk::Limit;
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

    /// A database that is slow: what is too much for one transaction is done in several.
    #[tokio::test]
    async fn transactions_that_take_too_long_get_shorter() {
        let under = Postgres::new().await;
        let journal =
            under.open_with(fixture::rules(Profile::Embedded), Duration::from_secs(1)).await.journal;
        journal.init_limits(&[fixture::limits(Limit::Unlimited)]).await.unwrap();
        let mut other = PgConnection::connect(&under.place.url()).await.unwrap();
        let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                    'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'";
        sqlx::query(slow).execute(&mut other).await.unwrap();
        let on = "CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()";
        sqlx::query(on).execute(&mut other).await.unwrap();
        let caller = |caller: u64| {
            let journal = journal.clone();
            let order = move |n| fixture::submit("a", n, fixture::limit_order(n, "1", "90"));
            // One of them has more than there is time for.
            let places = if caller == 0 { 0..180 } else { 200 + caller * 15..215 + caller * 15 };
            let orders: Vec<_> = places.map(order).collect();
            tokio::spawn(async move {
                let mut failed = 0;
                loop {
                    match journal.transact(orders.clone()).await {
                        Ok(decided) => {
                            assert!(decided.iter().all(Result::is_ok), "{decided:?}");
                            return failed;
                        }
                        Err(error) => {
                            failed += 1;
                            assert!(error.to_string().contains("statement timeout"), "{error}");
                        }
                    }
                }
            })
        };
        // Together they need 6 s; 180 orders alone 1.8 s.
        let callers: Vec<_> = (0..30).map(caller).collect();
        let all = tokio::time::timeout(Duration::from_secs(60), join_all(callers)).await;
        let failed: u32 = all.expect("they never get short enough").into_iter().map(Result::unwrap).sum();
        assert!((1..150).contains(&failed), "{failed} calls of 30 callers took too long");
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
