//! A local Flink, as a client of a broker's Kafka door.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    Cost,
    support::{
        broker::Broker,
        environment,
        process::{self, Running},
        report,
    },
};

/// The first run in a machine is of cold code.
const ROUNDS: &str = "2";

pub(crate) struct Flink {
    class_path: String,
}

impl Flink {
    /// `None`, said loudly, where there is no Java or no registry.
    pub(crate) fn available() -> Option<Self> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/streams/Bench.java");
        let programs = [environment::sources("flink").join("Statements.java"), bench];
        let class_path =
            environment::java("flink").and_then(|libraries| environment::compiled(&libraries, &programs));
        report::available("flink", class_path).map(|class_path| Self { class_path })
    }

    fn program(&self, file: &Path) -> Command {
        let mut java = Command::new("java");
        for package in ["java.util", "java.lang", "java.nio"] {
            java.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        java.args(["-Xmx1g", "-cp", &self.class_path, "Bench"]).arg(file);
        java
    }

    /// The second of two runs.
    pub(crate) fn run(&self, broker: &Broker, sql: &str) -> Cost {
        let directory = tempfile::tempdir().unwrap();
        let file = written(broker, sql, directory.path());
        let broker_before = broker.cpu_us().unwrap();
        let done = process::within(self.program(&file).arg(ROUNDS), Duration::from_secs(1_800));
        assert!(done.success(), "{}\n{}", done.said, done.errors);
        let broker_us = (broker.cpu_us().unwrap() - broker_before) / ROUNDS.parse::<u64>().unwrap();
        let last: Vec<&str> = done.said.lines().last().unwrap().split(' ').collect();
        let [seconds, cpu_us, rss_kib] = last.as_slice() else { panic!("{}", done.said) };
        Cost {
            seconds: seconds.parse().unwrap(),
            cpu_us: cpu_us.parse().unwrap(),
            broker_us,
            rss_kib: rss_kib.parse().unwrap(),
        }
    }

    /// A job without an end, until it is dropped.
    pub(crate) fn start(&self, broker: &Broker, sql: &str, directory: &Path) -> Running {
        Running::start(&mut self.program(&written(broker, sql, directory)))
    }
}

fn written(broker: &Broker, sql: &str, directory: &Path) -> std::path::PathBuf {
    let file = directory.join("job.sql");
    fs::write(&file, sql.replace("localhost:9092", &broker.doors().kafka.to_string())).unwrap();
    file
}
