//! The options of the command line, before and behind the command.

use super::Failure;

/// What the options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub vhost: String,
    pub node: String,
    pub quiet: bool,
    pub silent: bool,
    pub table_headers: bool,
    pub formatter: Formatter,
    pub help: bool,
    /// Those of single commands, by their names: `--apply-to`, `--priority` and the like.
    pub named: Vec<(String, String)>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formatter {
    Table,
    Csv,
    Json,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vhost: "/".to_owned(),
            node: "rabbit@localhost".to_owned(),
            quiet: false,
            silent: false,
            table_headers: true,
            formatter: Formatter::Table,
            help: false,
            named: Vec::new(),
        }
    }
}

impl Options {
    /// An option of a single command.
    #[must_use]
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// Options with a value that choose nothing where there is one node.
const SKIPPED_WITH_VALUE: &[&str] = &["--erlang-cookie", "--timeout", "-t"];
const SKIPPED: &[&str] = &["--longnames", "-l", "--script-name", "--dry-run", "--print-stacktrace"];
/// Options of single commands, and those of TLS, which are ours.
const WITH_VALUE: &[&str] = &[
    "--cacert",
    "--cert",
    "--key",
    "--apply-to",
    "--priority",
    "--description",
    "--tags",
    "--default-queue-type",
    "--global",
    "--per-connection-delay",
    "--limit",
    "--format",
    "--partitions",
    "--max-age",
    "--max-length-bytes",
    "--stream-max-segment-size-bytes",
];
const FLAGS: &[&str] = &[
    "--pre-hashed-password",
    "--if-empty",
    "--if-unused",
    "--online",
    "--offline",
    "--local",
    "--unresponsive",
    "--skip-if-exists",
];

/// Options and the words between them; everything behind `--` is a word.
pub(crate) fn parse(arguments: &[String]) -> Result<(Options, Vec<String>), Failure> {
    let (mut options, mut words) = (Options::default(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        // A lone number such as -1 is a value, and - is a file.
        if argument == "--" {
            words.extend(rest.cloned());
            break;
        }
        if !argument.starts_with('-') || argument == "-" || argument.parse::<f64>().is_ok() {
            words.push(argument.clone());
            continue;
        }
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || {
            let given = inline.clone().or_else(|| rest.next().cloned());
            given.ok_or_else(|| invalid(argument))
        };
        match name {
            "-p" | "--vhost" => options.vhost = value()?,
            "-n" | "--node" => options.node = value()?,
            "-q" | "--quiet" => options.quiet = true,
            "-s" | "--silent" => (options.silent, options.table_headers) = (true, false),
            "--no-table-headers" => options.table_headers = false,
            "--help" => options.help = true,
            "--formatter" => options.formatter = formatter(&value()?)?,
            name if SKIPPED_WITH_VALUE.contains(&name) => drop(value()?),
            name if SKIPPED.contains(&name) => {}
            // `--global` has no value where limits are set for all, and none of ours does.
            "--global" => options.named.push((name.to_owned(), String::new())),
            name if WITH_VALUE.contains(&name) => {
                let value = value()?;
                options.named.push((name.to_owned(), value));
            }
            name if FLAGS.contains(&name) => options.named.push((name.to_owned(), String::new())),
            _ => return Err(invalid(argument)),
        }
    }
    Ok((options, words))
}

fn formatter(name: &str) -> Result<Formatter, Failure> {
    match name {
        "json" => Ok(Formatter::Json),
        "csv" => Ok(Formatter::Csv),
        "table" | "pretty_table" | "string" => Ok(Formatter::Table),
        _ => {
            Err(Failure::Usage(format!("Error: \nInvalid options for this command:\n\n--formatter {name}\n")))
        }
    }
}

fn invalid(option: &str) -> Failure {
    Failure::Usage(format!("Error: \nInvalid options for this command:\n\n{option}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (Options, Vec<String>) {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn options_may_stand_anywhere() {
        let (options, words) = parsed("-n rabbit@x -q list_queues name messages -p v1 --formatter=json");
        assert_eq!(words, ["list_queues", "name", "messages"]);
        assert_eq!((options.vhost.as_str(), options.quiet, options.formatter), ("v1", true, Formatter::Json));
        let (options, words) = parsed("set_policy --apply-to queues p ^q {} --priority 3");
        assert_eq!(words, ["set_policy", "p", "^q", "{}"]);
        assert_eq!((options.value("--apply-to"), options.value("--priority")), (Some("queues"), Some("3")));
        assert_eq!(parsed("add_user -- u -p").1, ["add_user", "u", "-p"]);
    }
}
