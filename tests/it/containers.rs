//! The official images, as somebody would run them: where a container engine answers.

use crate::harness::{Lab, assert_decimal, containers, market, postgres, tools};

#[tokio::test]
async fn a_worker_trades_on_a_redis_and_a_postgres_in_containers() {
    let servers = async { Ok::<_, String>((containers::redis().await?, containers::postgres().await?)) };
    let (redis, postgres) = match servers.await {
        Ok(both) => both,
        Err(why) => return tools::skipped(&why),
    };
    let place = postgres::create_database(&postgres.url).await.expect("a database");
    let lab = Lab::between(Some(redis.url.clone()), Some(place), |_| {}).await;
    let mut worker = lab.worker().await;
    lab.execute(&market("boxed", "BTCUSDT", "Buy", "1.5")).await.is_completed("Filled");
    assert_decimal(&lab.position("BTCUSDT").await["quantity"], "1.5");
    assert_eq!(lab.trades().await, (1, 1));
    assert_eq!(worker.terminate().await, 0);
    lab.cli(&["replay"]).await.succeeded();
}
