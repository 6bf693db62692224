//! Where configuration comes from, later winning over earlier: defaults, the TOML file, `WARREN_*` in the
//! environment, options of the command line, `--set key=value`.
//!
//! Everything is a dotted key and a value until the end, so that each complaint names the key, where it was said,
//! and what to do about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::config::{Config, rules};

/// Dotted keys and their values.
pub type Flat = BTreeMap<String, Value>;

/// The configuration, and which keys somebody set.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Named by the user, in whatever way: a door named here must open or the start fails.
    pub named: BTreeSet<String>,
    /// What was said but cannot be honoured, for the log.
    pub warnings: Vec<String>,
}

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Environment(String),
    Option(String),
}

/// Why the configuration cannot be used: one line, naming key and remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    #[error("cannot read the configuration {}: {reason}; check the path given with --config", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: not valid TOML: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("{source_said}: unknown key `{key}`; {remedy}")]
    UnknownKey { source_said: Source, key: String, remedy: String },
    #[error("{source_said}: `{key}` cannot be {value}: {reason}")]
    BadValue { source_said: Source, key: String, value: String, reason: String },
    #[error("--set {0}: write it as key=value, for example --set amqp.heartbeat_s=30")]
    NotAPair(String),
}

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The TOML file, when given.
    pub file: Option<PathBuf>,
    /// The environment, as it was at the start.
    pub environment: Vec<(String, String)>,
    /// Options: the option's name, its key, its text.
    pub options: Vec<(&'static str, &'static str, String)>,
    /// `--set` pairs.
    pub set: Vec<String>,
}

struct Override {
    source: Source,
    key: String,
    value: Value,
}

impl Loaded {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn load(said: &Said) -> Result<Self, Problem> {
        let defaults = Table::try_from(Config::default()).expect("the defaults are plain values");
        let known = flatten(&defaults);
        let mut warnings = Vec::new();
        let mut overrides = Vec::new();
        if let Some(path) = &said.file {
            from_file(path, &known, &mut overrides)?;
        }
        from_environment(&said.environment, &known, &mut overrides, &mut warnings)?;
        for (option, key, text) in &said.options {
            overrides.push(from_text(Source::Option(format!("--{option}")), key, text, &known)?);
        }
        for pair in &said.set {
            let (key, text) = pair.split_once('=').ok_or_else(|| Problem::NotAPair(pair.clone()))?;
            overrides.push(from_text(Source::Option("--set".into()), key.trim(), text.trim(), &known)?);
        }
        let named = overrides.iter().map(|o| o.key.clone()).collect();
        let config = apply(defaults, overrides)?;
        Ok(Self { config, named, warnings })
    }
}

/// Every leaf of a table under its dotted key.
#[must_use]
pub fn flatten(table: &Table) -> Flat {
    fn walk(prefix: &str, table: &Table, flat: &mut Flat) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => walk(&key, inner, flat),
                Value::Array(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Float(_)
                | Value::Integer(_)
                | Value::String(_) => {
                    flat.insert(key, value.clone());
                }
            }
        }
    }
    let mut flat = Flat::new();
    walk("", table, &mut flat);
    flat
}

fn from_file(path: &Path, known: &Flat, overrides: &mut Vec<Override>) -> Result<(), Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Problem::Unreadable { path: path.to_owned(), reason: e.to_string() })?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |s| text.bytes().take(s.start).filter(|b| *b == b'\n').count() + 1);
        Problem::Malformed { path: path.to_owned(), reason: format!("line {line}: {}", e.message()) }
    })?;
    for (key, value) in flatten(&table) {
        let source = Source::File(path.to_owned());
        let default = known_key(&source, &key, known)?;
        let value = match (default, value) {
            (Value::Integer(_), Value::String(text)) if key.contains("bytes") => {
                parse(&text, default).map_err(|reason| bad(&source, &key, &text, reason))?
            }
            (Value::Float(_), Value::Integer(n)) => Value::Float(
                n.to_string().parse().map_err(|_| bad(&source, &key, &n.to_string(), "too large".into()))?,
            ),
            (_, value) if value.same_type(default) => value,
            (_, value) => {
                return Err(bad(&source, &key, &value.to_string(), format!("it must be {}", kind(default))));
            }
        };
        overrides.push(Override { source, key, value });
    }
    Ok(())
}

fn from_environment(
    environment: &[(String, String)],
    known: &Flat,
    overrides: &mut Vec<Override>,
    warnings: &mut Vec<String>,
) -> Result<(), Problem> {
    let names: BTreeMap<String, &String> = known.keys().map(|k| (variable(k), k)).collect();
    for (name, text) in environment {
        if let Some(key) = names.get(name) {
            overrides.push(from_text(Source::Environment(name.clone()), key, text, known)?);
        } else if name.starts_with("WARREN_") && !OTHER_VARIABLES.contains(&name.as_str()) {
            // Not an error: Kubernetes sets WARREN_PORT and the like for a service named warren.
            warnings
                .push(format!("environment variable {name} is no key of the configuration and is ignored"));
        }
    }
    Ok(())
}

/// The environment variable of a key: `amqp.frame_max` is `WARREN_AMQP_FRAME_MAX`.
fn variable(key: &str) -> String {
    format!("WARREN_{}", key.to_uppercase().replace('.', "_"))
}

fn from_text(source: Source, key: &str, text: &str, known: &Flat) -> Result<Override, Problem> {
    let default = known_key(&source, key, known)?;
    let value = parse(text, default).map_err(|reason| bad(&source, key, text, reason))?;
    Ok(Override { source, key: key.to_owned(), value })
}

fn known_key<'a>(source: &Source, key: &str, known: &'a Flat) -> Result<&'a Value, Problem> {
    known.get(key).ok_or_else(|| Problem::UnknownKey {
        source_said: source.clone(),
        key: key.to_owned(),
        remedy: nearest(key, known),
    })
}

fn bad(source: &Source, key: &str, value: &str, reason: String) -> Problem {
    Problem::BadValue { source_said: source.clone(), key: key.to_owned(), value: value.to_owned(), reason }
}

/// Reads a text as what the default is.
fn parse(text: &str, default: &Value) -> Result<Value, String> {
    let as_said = || format!("it must be {}", kind(default));
    match default {
        Value::Integer(_) => size(text).map(Value::Integer).ok_or_else(as_said),
        Value::Float(_) => text.parse().map(Value::Float).map_err(|_| as_said()),
        Value::Boolean(_) => text.parse().map(Value::Boolean).map_err(|_| as_said()),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .map(|t| Value::String(t.to_owned()))
                .collect(),
        )),
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => Ok(Value::String(text.to_owned())),
    }
}

/// A whole number, or one with KiB, MiB or GiB behind it.
fn size(text: &str) -> Option<i64> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return number.trim().parse::<i64>().ok()?.checked_mul(factor);
        }
    }
    text.parse().ok()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list of texts",
        Value::Boolean(_) => "true or false",
        Value::Float(_) => "a number",
        Value::Integer(_) => "a whole number",
        Value::String(_) | Value::Datetime(_) => "a text in quotes",
        Value::Table(_) => "a table",
    }
}

fn apply(defaults: Table, overrides: Vec<Override>) -> Result<Config, Problem> {
    let mut table = defaults;
    for o in &overrides {
        put(&mut table, &o.key, o.value.clone());
        // Read back one at a time: a value of the right kind may still be no address or no known word.
        if let Err(e) = Config::try_from_table(&table) {
            return Err(bad(&o.source, &o.key, &o.value.to_string(), first_line(e.message())));
        }
        if let Err(reason) = rules::check(&o.key, &o.value) {
            return Err(bad(&o.source, &o.key, &o.value.to_string(), reason));
        }
    }
    Ok(Config::try_from_table(&table).expect("read back after the last override"))
}

impl Config {
    fn try_from_table(table: &Table) -> Result<Self, toml::de::Error> {
        table.clone().try_into()
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the writer may have meant.
fn nearest(key: &str, known: &Flat) -> String {
    let last = |k: &str| k.rsplit('.').next().unwrap_or(k).to_owned();
    let near = known.keys().map(|k| (distance(k, key).min(distance(&last(k), &last(key)) + 1), k)).min();
    match near {
        Some((d, k)) if d <= 3 => format!("did you mean `{k}`?"),
        Some(_) | None => "config/warren.toml shows every key".to_owned(),
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1).copied()) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// Variables that are read elsewhere: the client commands' and the configuration's own path.
const OTHER_VARIABLES: [&str; 7] = [
    "WARREN_CACERT",
    "WARREN_CERT",
    "WARREN_CONFIG",
    "WARREN_KEY",
    "WARREN_PASSWORD",
    "WARREN_URL",
    "WARREN_USER",
];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{Address, Durability};

    fn set(pairs: &[&str]) -> Result<Loaded, Problem> {
        Loaded::load(&Said { set: pairs.iter().map(|&p| p.to_owned()).collect(), ..Said::default() })
    }

    fn file(text: &str) -> Result<Loaded, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_owned();
        Loaded::load(&Said { file: Some(path.clone()), ..Said::default() })
            .map_err(|e| e.to_string().replace(&path.display().to_string(), "F"))
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        assert_eq!(set(&[]).unwrap().config, Config::default());
    }

    #[test]
    fn later_sources_win() {
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(b"[amqp]\nheartbeat_s = 1\nchannel_max = 1\nframe_max = 8192\n").unwrap();
        let loaded = Loaded::load(&Said {
            file: Some(toml.path().to_owned()),
            environment: vec![
                ("WARREN_AMQP_CHANNEL_MAX".into(), "2".into()),
                ("WARREN_AMQP_FRAME_MAX".into(), "9000".into()),
                ("WARREN_PORT".into(), "tcp://10.0.0.1".into()),
            ],
            options: vec![("amqp", "amqp.address", "127.0.0.1:0".into())],
            set: vec!["amqp.frame_max=10000".into()],
        })
        .unwrap();
        let amqp = &loaded.config.amqp;
        assert_eq!((amqp.heartbeat_s, amqp.channel_max, amqp.frame_max), (1, 2, 10_000));
        assert_eq!(amqp.address, "127.0.0.1:0".parse::<Address>().unwrap());
        assert!(loaded.named.contains("amqp.address") && !loaded.named.contains("kafka.address"));
        assert_eq!(loaded.warnings.len(), 1);
    }

    #[test]
    fn texts_are_read_as_what_the_key_is() {
        let config = set(&[
            "amqp.message_bytes_max=2MiB",
            "store.durability=os",
            "kafka.auto_create_topics=false",
            "server.listen=0.0.0.0",
            "memory.high_watermark=0.5",
        ])
        .unwrap()
        .config;
        assert_eq!(config.amqp.message_bytes_max, 2 << 20);
        assert_eq!(config.store.durability, Durability::Os);
        assert!(!config.kafka.auto_create_topics && config.server.listen.len() == 1);
    }

    fn check(pair: &str, expected: &str) {
        assert_eq!(set(&[pair]).unwrap_err().to_string(), expected);
    }

    #[test]
    fn each_complaint_names_the_key_and_the_remedy() {
        check("amqp.fram_max=1", "--set: unknown key `amqp.fram_max`; did you mean `amqp.frame_max`?");
        check("heartbeat_s=1", "--set: unknown key `heartbeat_s`; did you mean `amqp.heartbeat_s`?");
        check("entirely.else=1", "--set: unknown key `entirely.else`; config/warren.toml shows every key");
        check(
            "amqp.heartbeat_s=often",
            "--set: `amqp.heartbeat_s` cannot be often: it must be a whole number",
        );
        check(
            "amqp.frame_max=100",
            "--set: `amqp.frame_max` cannot be 100: it must be between 8192 and 2147483647",
        );
        check(
            "amqp.heartbeat_s",
            "--set amqp.heartbeat_s: write it as key=value, for example --set amqp.heartbeat_s=30",
        );
        let durability = set(&["store.durability=never"]).unwrap_err().to_string();
        assert!(
            durability.contains("`store.durability` cannot be \"never\": unknown variant"),
            "{durability}"
        );
        let address = set(&["amqp.address=here"]).unwrap_err().to_string();
        assert!(address.ends_with("`here` is not HOST:PORT, PORT or `off`"), "{address}");
    }

    #[test]
    fn the_file_is_checked_alike() {
        let unknown = file("[amqp]\nframe = 1\n").unwrap_err();
        assert!(unknown.starts_with("F: unknown key `amqp.frame`"), "{unknown}");
        let kind = file("[amqp]\nheartbeat_s = \"1\"\n").unwrap_err();
        assert_eq!(kind, "F: `amqp.heartbeat_s` cannot be \"1\": it must be a whole number");
        let malformed = file("[amqp]\nheartbeat_s = = 1\n").unwrap_err();
        assert!(malformed.starts_with("F: not valid TOML: line 2:"), "{malformed}");
        assert_eq!(
            file("[memory]\nhigh_watermark = 1\n").unwrap().config.memory.high_watermark.to_string(),
            "1"
        );
    }
}
