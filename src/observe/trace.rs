//! The log: on standard output, where the test tools that start a broker look for its lines. Its levels can be changed
//! while the broker runs, for everything or for single modules, which tools know as loggers.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tracing_subscriber::{
    Registry, filter::LevelFilter, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// From the most talkative to the quietest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing here is: nothing is logged.
    Fatal,
}

const LEVELS: &[(&str, Level, LevelFilter)] = &[
    ("TRACE", Level::Trace, LevelFilter::TRACE),
    ("DEBUG", Level::Debug, LevelFilter::DEBUG),
    ("INFO", Level::Info, LevelFilter::INFO),
    ("WARN", Level::Warn, LevelFilter::WARN),
    ("ERROR", Level::Error, LevelFilter::ERROR),
    ("FATAL", Level::Fatal, LevelFilter::OFF),
];

impl Level {
    #[must_use]
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level, _)| *level == self).map_or("", |(name, ..)| name)
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        LEVELS.iter().find(|(known, ..)| *known == name).map(|(_, level, _)| *level)
    }

    fn filter(self) -> LevelFilter {
        LEVELS.iter().find(|(_, level, _)| *level == self).map_or(LevelFilter::OFF, |(.., filter)| *filter)
    }

    fn of(filter: LevelFilter) -> Self {
        LEVELS.iter().find(|(.., known)| *known == filter).map_or(Self::Fatal, |(_, level, _)| *level)
    }
}

/// The logger of everything.
pub const ROOT: &str = "root";

/// The loggers there always are: the crate, and its modules.
const MODULES: &[&str] = &[
    "warrenmq",
    "warrenmq::admin",
    "warrenmq::amqp",
    "warrenmq::broker",
    "warrenmq::cli",
    "warrenmq::config",
    "warrenmq::data",
    "warrenmq::kafka",
    "warrenmq::net",
    "warrenmq::observe",
    "warrenmq::redis",
    "warrenmq::store",
    "warrenmq::stream",
    "warrenmq::zmq",
];

/// A process has one log.
static LOG: Mutex<State> = Mutex::new(State { root: Level::Fatal, own: BTreeMap::new(), filter: None });

struct State {
    root: Level,
    /// Of the loggers that have one; the others are as what is around them.
    own: BTreeMap<String, Level>,
    filter: Option<reload::Handle<Targets, Registry>>,
}

impl State {
    fn level(&self, logger: &str) -> Level {
        let around = self.own.iter().filter(|(module, _)| logger.starts_with(module.as_str()));
        around.max_by_key(|(module, _)| module.len()).map_or(self.root, |(_, level)| *level)
    }

    fn targets(&self) -> Targets {
        let own = self.own.iter().map(|(module, level)| (module.clone(), level.filter()));
        Targets::new().with_default(self.root.filter()).with_targets(own)
    }

    fn take(&mut self, targets: &Targets) {
        self.root = Level::of(targets.default_level().unwrap_or(LevelFilter::OFF));
        self.own = targets.iter().map(|(module, level)| (module.to_owned(), Level::of(level))).collect();
    }
}

/// Sends the log to standard output. Called once; a second call changes nothing, so that several brokers can live
/// in one test process.
pub fn start(log: &Log) {
    // Checked when the configuration was read.
    let targets: Targets = log.level.parse().unwrap_or_default();
    let (filter, handle) = reload::Layer::new(targets.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stdout).with_ansi(false);
    let started = match log.format {
        LogFormat::Compact => registry.with(lines.compact()).try_init(),
        LogFormat::Full => registry.with(lines).try_init(),
    };
    if started.is_ok() {
        let mut state = LOG.lock();
        state.take(&targets);
        state.filter = Some(handle);
    }
}

/// All loggers with the levels that hold for them.
#[must_use]
pub fn loggers() -> Vec<(String, Level)> {
    let state = LOG.lock();
    let configured = state.own.keys().map(String::as_str).filter(|name| !MODULES.contains(name));
    let known = MODULES.iter().copied().chain(configured);
    let mut all: Vec<_> = known.map(|name| (name.to_owned(), state.level(name))).collect();
    all.push((ROOT.to_owned(), state.root));
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// Sets levels of loggers; one without a level is as what is around it. Root always has one.
pub fn set_levels(levels: impl IntoIterator<Item = (String, Option<Level>)>) {
    let mut state = LOG.lock();
    for (logger, level) in levels {
        match level {
            Some(level) if logger == ROOT => state.root = level,
            Some(level) => drop(state.own.insert(logger, level)),
            None => drop(state.own.remove(&logger)),
        }
    }
    let targets = state.targets();
    if let Some(filter) = &state.filter
        && let Err(error) = filter.reload(targets)
    {
        tracing::warn!(%error, "the levels of the log stay as they were");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_module_has_a_logger() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let folders = fs::read_dir(sources).unwrap().map(|entry| entry.unwrap());
        // What only tests have does not log.
        let modules = folders.filter(|entry| entry.path().is_dir() && entry.file_name() != "sim");
        for module in modules.map(|entry| format!("warrenmq::{}", entry.file_name().display())) {
            assert!(MODULES.contains(&module.as_str()), "{module}");
        }
    }

    #[test]
    fn a_logger_is_as_what_is_around_it() {
        let mut state = State { root: Level::Fatal, own: BTreeMap::new(), filter: None };
        state.take(&"info,warrenmq=warn,warrenmq::kafka=debug".parse().unwrap());
        for (logger, expected) in [
            ("fjall", Level::Info),
            ("warrenmq::store", Level::Warn),
            ("warrenmq::kafka", Level::Debug),
            ("warrenmq::kafka::login", Level::Debug),
        ] {
            assert_eq!(state.level(logger), expected, "{logger}");
        }
        let targets = state.targets();
        assert!(targets.would_enable("warrenmq::kafka::login", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("warrenmq::store", &tracing::Level::INFO));
    }
}
