//! What every implementation of a port keeps to, one async function a rule. A suite is a list of names that a macro
//! hands on: `as_tests` makes a test of each, `as_table` a table that another runner goes through. What is under test
//! is made by a factory, afresh for each rule; it can hand out several handles on the same thing, as several workers
//! have them, and let time pass by whatever clock the thing goes by.

pub(crate) mod broker;
pub(crate) mod fixture;
pub(crate) mod journal;
pub(crate) mod streams;

/// A test for each rule of a suite: `journal_rules!(as_tests, crate::contracts::journal, Sqlite::new())`.
#[allow(unused_macros, reason = "each test binary takes the form that it needs")]
macro_rules! as_tests {
    ($suite:path, $factory:expr; $($module:ident :: $rule:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $rule() {
                use $suite as suite;
                suite::$module::$rule(&$factory.await).await;
            }
        )*
    };
}

/// The rules of a suite as `(name, future)`, for a runner of its own.
#[allow(unused_macros, reason = "each test binary takes the form that it needs")]
macro_rules! as_table {
    ($suite:path, $factory:expr; $($module:ident :: $rule:ident),* $(,)?) => {{
        use $suite as suite;
        let mut table: Vec<(&'static str, std::pin::Pin<Box<dyn Future<Output = ()>>>)> = Vec::new();
        $(
            let factory = $factory;
            table.push((
                stringify!($rule),
                Box::pin(async move { suite::$module::$rule(&factory.await).await }),
            ));
        )*
        table
    }};
}

#[allow(unused_imports, reason = "each test binary takes the form that it needs")]
pub(crate) use {as_table, as_tests};
