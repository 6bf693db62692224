//! Flink's tutorials at the Kafka door: the jobs as they are written for Kafka, and a SQL file that Flink and Warren both
//! run, unchanged.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use warrenmq::{
    clock::Clock,
    data::record::BatchBuilder,
    stream::{
        dsl::{Job, Window, col, json_topic},
        plan::types::Type,
    },
};

use super::{
    class_path, flink,
    support::{
        Seeded, Tier,
        broker::{self, Broker},
        environment, eventually, gaps,
        kafka::Client,
        pause,
        process::{self, Running},
        report,
    },
};

pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// A program of the folder that prints TAP, with something that happens to the broker while it runs.
fn program(suite: &str, folder: &str, arguments: &[&str], mut meanwhile: impl FnMut(&mut Broker)) {
    if !report::included(suite, Tier::All) {
        return;
    }
    let Some(class_path) = report::available(suite, class_path(folder)) else { return };
    let mut broker = Broker::durable(&[]);
    let mut java = flink(&class_path);
    java.args(arguments).env("KAFKA", broker.doors().kafka.to_string());
    let done = report::suite(suite, || {
        thread::scope(|scope| {
            let running = scope.spawn(|| process::within(&mut java, LIMIT));
            while !running.is_finished() {
                meanwhile(&mut broker);
            }
            running.join().expect("the program was waited for")
        })
    });
    let wrong = gaps::judge(&gaps::of(suite), &gaps::from_tap(&done.said));
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), done.said, done.errors);
}

#[test]
fn the_old_consumer_and_producer() {
    program("flink legacy job", "flink/legacy", &["Processed"], quiet);
}

#[test]
fn source_and_sink_at_least_once() {
    program("flink at least once", "flink", &["Jobs", "at-least-once"], quiet);
}

#[test]
fn source_and_sink_exactly_once() {
    program("flink exactly once", "flink", &["Jobs", "exactly-once"], quiet);
}

#[test]
fn source_and_sink_exactly_once_through_kills() {
    let suite = "flink exactly once through kills";
    let mut seeded = Seeded::from_env(suite);
    program(suite, "flink", &["Jobs", "exactly-once"], |broker| {
        pause(Duration::from_millis(1_000 + seeded.below(2_000)));
        broker.kill();
        broker.restart();
    });
}

fn quiet(_: &mut Broker) {
    pause(Duration::from_millis(20));
}

/// A broker's Kafka door with the topics of a SQL file, each of one partition.
pub(crate) struct Topics {
    pub(crate) broker: Broker,
    client: Client,
}

impl Topics {
    pub(crate) fn new(names: &[&str]) -> Self {
        let broker = Broker::durable(&[]);
        let mut client = Client::connect(broker.doors().kafka).expect("the broker accepts");
        for name in names {
            client.create_topic(name).expect("the topic is made");
        }
        Self { broker, client }
    }

    /// (timestamp in ms, value) of each record.
    pub(crate) fn produce(&mut self, topic: &str, records: &[(i64, String)]) {
        let mut batch = BatchBuilder::new();
        for (timestamp_ms, value) in records {
            batch.push(*timestamp_ms, None, Some(value.as_bytes()), std::iter::empty());
        }
        let sent = self.client.produce_batch(topic, 0, batch.build().bytes()).expect("the broker reads");
        assert_eq!(self.client.produced(sent).expect("the broker answers").error, 0);
    }

    pub(crate) fn values(&mut self, topic: &str) -> Vec<String> {
        self.client.values(topic).expect("the broker answers")
    }

    /// Runs the SQL file as Warren's own jobs.
    pub(crate) fn run(&self, text: &str, directory: &Path) {
        let mut warren = Command::new(broker::binary());
        warren.args(["sql", "run"]).arg(self.file(text, directory));
        warren.args(["--url", &format!("http://{}", self.broker.doors().admin)]);
        let done = process::within(&mut warren, Duration::from_secs(30));
        assert!(done.success(), "{}\n{}", done.said, done.errors);
    }

    /// The SQL file with this broker's address in it.
    fn file(&self, text: &str, directory: &Path) -> PathBuf {
        let path = directory.join("job.sql");
        let text = text.replace("localhost:9092", &self.broker.doors().kafka.to_string());
        fs::write(&path, text).expect("a temporary file");
        path
    }
}

/// Hundred records, some milliseconds apart. They are of the last minutes, so that the topic's retention lets them be.
pub(crate) fn records(apart_ms: i64, value: impl Fn(i64) -> String) -> Vec<(i64, String)> {
    let start = Clock::machine().now_ms() - 120_000;
    (0..100).map(|i| (start + apart_ms * i, value(i))).collect()
}

/// The same records and the same file twice: Warren runs it over its topics, Flink over the Kafka door of another broker.
/// Each of `outputs` must get so many records, and the same ones; both are at parallelism 1.
fn means_the_same(name: &str, text: &str, input: (&str, &[(i64, String)]), outputs: &[(&str, usize)]) {
    let suite = format!("flink sql {name}");
    if !report::included(&suite, Tier::All) {
        return;
    }
    let Some(class_path) = report::available(&suite, class_path("flink")) else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let topics: Vec<&str> = std::iter::once(input.0).chain(outputs.iter().map(|(topic, _)| *topic)).collect();
    let (mut ours, mut theirs) = (Topics::new(&topics), Topics::new(&topics));
    ours.produce(input.0, input.1);
    theirs.produce(input.0, input.1);

    ours.run(text, directory.path());
    let mut job = Running::start(flink(&class_path).arg("Sql").arg(theirs.file(text, directory.path())));

    report::suite(&suite, || {
        for (topic, number) in outputs {
            eventually("Warren's job writes", LIMIT, || ours.values(topic).len() >= *number);
            eventually("Flink's job writes", LIMIT, || {
                job.must_run();
                theirs.values(topic).len() >= *number
            });
        }
    });
    for (topic, number) in outputs {
        let (ours, theirs) = (ours.values(topic), theirs.values(topic));
        assert_eq!(ours.len(), *number, "{topic}: {ours:?}");
        assert_eq!(ours, theirs, "{topic}");
    }
}

#[test]
fn a_sql_file_that_prefixes_every_message() {
    let text = include_str!("../../fixtures/sql/processed.sql");
    let records = records(1, |i| i.to_string());
    means_the_same("processed", text, ("input_topic", &records), &[("output_topic", 100)]);
}

#[test]
fn a_sql_file_with_fixed_windows() {
    let text = include_str!("../../fixtures/sql/windows.sql");
    means_the_same("windows", text, ("nums", &numbers()), &[("doubled", 100), ("tripled", 100)]);
}

/// What `windows.sql` reads: seven seconds of each ten.
pub(crate) fn numbers() -> Vec<(i64, String)> {
    records(700, |x| format!("{{\"x\": {x}}}"))
}

#[test]
fn a_sql_file_that_aggregates_windows() {
    // One key, so that there is one order; every seventh record is late for its window.
    let at = |i: i64| if i % 7 == 6 { 800 * i - 12_000 } else { 800 * i };
    let records = records(1, |i| format!("{{\"k\": \"a\", \"v\": {}, \"at\": {}}}", i % 5, at(i)));
    let text = include_str!("../python/windowed.sql");
    means_the_same("windowed", text, ("clicks", &records), &[("sums", 7)]);
}

#[test]
fn a_job_from_rust_is_a_sql_file() {
    let nums = json_topic("nums").column("x", Type::BigInt).timestamp("rt").watermark("rt", Duration::ZERO);
    let nums = nums.stream();
    let times = |factor: i64, seconds: u64| {
        let windowed = nums.window("rt", Window::Tumble { size: Duration::from_secs(seconds) }).rows();
        windowed.filter(col("x").gt_eq(0)).map([col("window_end"), (col("x") * factor).alias("x")])
    };
    // More than 99 seconds are written in another way.
    let job = Job::new("windows").insert(&times(2, 10), json_topic("doubled"));
    let job = job.insert(&times(3, 150), json_topic("tripled"));
    let text = job.sql().expect("it can be planned");
    means_the_same("rust", &text, ("nums", &numbers()), &[("doubled", 100), ("tripled", 100)]);
}

#[test]
fn pyflink() {
    let suite = "flink python";
    if !report::included(suite, Tier::All) {
        return;
    }
    let Some(python) = report::available(suite, environment::python("requirements-flink.txt")) else {
        return;
    };
    let Some(libraries) = report::available(suite, environment::java("flink")) else { return };
    let mut topics = Topics::new(&["input_topic", "output_topic"]);
    let records = records(1, |i| i.to_string());
    topics.produce("input_topic", &records);

    let mut program = Command::new(python);
    program.arg(environment::sources("flink").join("processed.py"));
    program.args(connector(Path::new(libraries.trim_end_matches("/*"))));
    program.env("KAFKA", topics.broker.doors().kafka.to_string());
    let done = report::suite(suite, || process::within(&mut program, LIMIT));
    assert!(done.success(), "{}\n{}", done.said, done.errors);
    let doubled: Vec<String> = (0..100).map(|x| (x * 2).to_string()).collect();
    assert_eq!(done.said.lines().collect::<Vec<_>>(), doubled, "{}", done.errors);
    let expected: Vec<String> = records.iter().map(|(_, value)| format!("processed_{value}")).collect();
    assert_eq!(topics.values("output_topic"), expected);
}

/// The Kafka connector and its client, which PyFlink does not bring.
fn connector(libraries: &Path) -> Vec<PathBuf> {
    let jars = fs::read_dir(libraries).expect("the libraries are there").filter_map(Result::ok);
    let wanted = |name: &str| name.starts_with("flink-connector-kafka") || name.starts_with("kafka-clients");
    jars.map(|jar| jar.path())
        .filter(|jar| jar.file_name().is_some_and(|name| wanted(&name.to_string_lossy())))
        .collect()
}
