//! Beam's tutorial on its local runner, between two topics of the Kafka door, against `fixtures/sql/windows.sql`, which
//! says the same.

use super::{
    door::{LIMIT, Topics, numbers},
    support::{Tier, environment, eventually, process, report},
};

#[test]
fn beam_puts_the_same_numbers_into_the_same_windows() {
    let suite = "flink beam";
    if !report::included(suite, Tier::All) {
        return;
    }
    let Some(mut go) = report::available(suite, environment::go("beam")) else { return };
    let mut ours = Topics::new(&["nums", "doubled", "tripled"]);
    let mut theirs = Topics::new(&["nums", "doubled", "tripled"]);
    let numbers = numbers();
    ours.produce("nums", &numbers);
    theirs.produce("nums", &numbers);
    let directory = tempfile::tempdir().expect("a temporary directory");
    ours.run(include_str!("../../fixtures/sql/windows.sql"), directory.path());

    // Compiling Beam counts too, the first time.
    go.args(["run", "."]).env("KAFKA", theirs.broker.doors().kafka.to_string());
    let done = report::suite(suite, || process::within(&mut go, LIMIT));
    assert!(done.success(), "{}\n{}", done.said, done.errors);
    for topic in ["doubled", "tripled"] {
        eventually("Warren's job writes", LIMIT, || ours.values(topic).len() >= numbers.len());
        let (mut ours, mut theirs) = (ours.values(topic), theirs.values(topic));
        // Beam promises no order.
        ours.sort();
        theirs.sort();
        assert_eq!(ours.len(), numbers.len(), "{topic}");
        assert_eq!(ours, theirs, "{topic}");
    }
}
