//! The log: on standard output, where the test tools that start a broker look for its lines.

use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Sends the log to standard output. Called once; a second call changes nothing, so that several brokers can live
/// in one test process.
pub fn start(log: &Log) {
    // Checked when the configuration was read.
    let targets: Targets = log.level.parse().unwrap_or_default();
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stdout).with_ansi(false);
    drop(match log.format {
        LogFormat::Compact => registry.with(lines.compact()).try_init(),
        LogFormat::Full => registry.with(lines).try_init(),
    });
}
