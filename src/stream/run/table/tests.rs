//! Jobs that several make and change at once.

use super::*;
use crate::{
    broker::{recovery::Settings, tests::within_30_s},
    clock::Clock,
    store::{Options, Store},
};

/// A broker on a store with a committer of its own.
fn jobs() -> Arc<Jobs> {
    let (store, clock) = (Store::open(Options::ephemeral()).unwrap(), Clock::manual(1_700_000_000_000));
    let broker = Broker::recover(store, Settings::of_tests(&clock)).unwrap();
    Jobs::recover(broker, Handle::current(), None).unwrap()
}

/// A text whose job takes one topic to another.
fn text(from: &str, to: &str) -> String {
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (a STRING) WITH ('connector' = 'kafka', 'topic' = '{name}', 'format' = 'json', \
             'properties.bootstrap.servers' = 'b', 'scan.startup.mode' = 'earliest-offset');"
        )
    };
    format!("{}{}\n-- @warren sync=true\nINSERT INTO {to} SELECT a FROM {from};", table(from), table(to))
}

fn plans(from: &str, to: &str) -> Vec<JobPlan> {
    crate::stream::compile(&text(from, to)).unwrap()
}

#[tokio::test]
async fn jobs_that_are_being_made_count_when_another_would_close_a_circle() {
    let jobs = jobs();
    let there = Claim::to_make(&jobs, "/", &plans("x", "y")).unwrap();
    assert!(Claim::to_make(&jobs, "/", &plans("x", "y")).is_err_and(|why| why.contains("at this moment")));
    let back = Claim::to_make(&jobs, "/", &plans("y", "x"));
    assert!(back.is_err_and(|why| why.contains("with sync=true")));
    assert!(Claim::to_make(&jobs, "other", &plans("y", "z")).is_ok());
    drop(there);
    assert!(Claim::to_make(&jobs, "/", &plans("y", "x")).is_ok());
    jobs.broker.core.store.abandon();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_is_removed_while_it_is_reset_does_not_come_back() {
    let jobs = jobs();
    for _ in 0..30 {
        let running = jobs.run("/", &text("x", "y"), false).await.unwrap();
        let name = running[0].plan.name.clone();
        let (of_remove, of_reset) = (jobs.clone(), jobs.clone());
        let (to_remove, to_reset) = (name.clone(), name.clone());
        let removing = tokio::spawn(async move { of_remove.remove(&to_remove).await });
        let resetting = tokio::spawn(async move { of_reset.reset(&to_reset, None).await.map(drop) });
        let removed = removing.await.unwrap() == Ok(true);
        let _ = resetting.await.unwrap();
        let is_defined = jobs.broker.core.store.get(Space::Meta, &definition_key(&name)).unwrap().is_some();
        assert_eq!((jobs.find(&name).is_some(), is_defined), (!removed, !removed));
        if !removed {
            assert_eq!(jobs.remove(&name).await, Ok(true));
        }
    }
    jobs.stop().await;
    jobs.broker.core.store.abandon();
}

/// Its thread panics: it wants to sleep until the next row is due, on a runtime that has no timers.
#[test]
fn a_job_whose_thread_panics_says_so_and_can_be_removed() {
    within_30_s(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let jobs = jobs();
            let text = "CREATE TABLE s (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
                CREATE TABLE t (a INT) WITH ('connector' = 'blackhole');
                INSERT INTO t SELECT a FROM s";
            let job = jobs.run("/", text, false).await.unwrap().remove(0);
            job.control.ended().await;
            assert!(job.status().error.is_some_and(|why| why.contains("timers are disabled")));
            assert_eq!(jobs.remove(&job.plan.name).await, Ok(true));
            jobs.stop().await;
            jobs.broker.core.store.abandon();
        });
    });
}
