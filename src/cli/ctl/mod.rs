//! `rabbitmqctl`, by that name: the commands of it that operators and the clients' own suites call.
//!
//! It speaks to a running server over its admin door; nodes, cookies and Erlang it knows only as options to skip, as
//! with one node they choose nothing. Output, errors and exit codes are RabbitMQ's. `commands::COMMANDS` is THE table
//! of what it does.
#![expect(
    clippy::indexing_slicing,
    reason = "of a JSON value that does not panic: what is absent is null, and rows are objects"
)]

mod client;
mod commands;
mod listing;
mod node;
mod options;
mod output;
mod policies;
mod users;
mod vhosts;

use std::process::ExitCode;

use client::Client;
use options::Options;
use output::Output;

/// Why a command did not do what it was told, with the exit codes that RabbitMQ's tool has (sysexits.h).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// 64: the command line makes no sense.
    Usage(String),
    /// 65: what it names cannot be.
    Data(String),
    /// 67: there is no such user.
    NoUser(String),
    /// 69: the server cannot be reached.
    Unavailable(String),
    /// 70: the server refused.
    Refused(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Data(_) => 65,
            Self::NoUser(_) => 67,
            Self::Unavailable(_) => 69,
            Self::Refused(_) => 70,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Usage(text)
            | Self::Data(text)
            | Self::NoUser(text)
            | Self::Unavailable(text)
            | Self::Refused(text) => text,
        }
    }
}

/// What a command works with.
pub(crate) struct Context<'a> {
    pub client: &'a Client,
    pub options: &'a Options,
    pub arguments: &'a [String],
}

impl Context<'_> {
    /// An argument that the command's table row asks for.
    pub(crate) fn argument(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    /// The vhost that `-p` names.
    pub(crate) fn vhost(&self) -> &str {
        &self.options.vhost
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments, |name| std::env::var(name).ok()) {
        Ok(output) => {
            print!("{output}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{}", failure.text());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: &[String], environment: impl Fn(&str) -> Option<String>) -> Result<String, Failure> {
    let (options, words) = options::parse(arguments)?;
    let Some((name, rest)) = words.split_first() else {
        return Err(Failure::Usage(commands::usage()));
    };
    if name == "help" || options.help {
        return Ok(commands::usage());
    }
    if name == "version" {
        return Ok(format!("{}\n", env!("CARGO_PKG_VERSION")));
    }
    let Some(command) = commands::COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Failure::Usage(commands::unknown(name)));
    };
    if rest.len() < command.arguments_min {
        return Err(Failure::Usage(format!(
            "Error (argument validation): not enough arguments.\nArguments given:\n\t{}\n\nUsage\n\nrabbitmqctl {}\n",
            words.join(" "),
            command.usage
        )));
    }
    if rest.len() > command.arguments_max {
        return Err(Failure::Usage(format!(
            "Error (argument validation): too many arguments.\nArguments given:\n\t{}\n\nUsage\n\nrabbitmqctl {}\n",
            words.join(" "),
            command.usage
        )));
    }
    let client = Client::new(&options, environment)?;
    let context = Context { client: &client, options: &options, arguments: rest };
    let result = (command.run)(&context)?;
    Ok(Output { options: &options, banner: commands::banner(command, &context) }.show(result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, code: u8, text: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        // Nobody listens on port 1.
        let failure = run(&words, |name| (name == "WARREN_URL").then(|| "http://127.0.0.1:1".to_owned()));
        let failure = failure.unwrap_err();
        assert_eq!(failure.exit_code(), code, "{line}: {failure:?}");
        assert!(failure.text().contains(text), "{line}: {failure:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_rabbitmqs_exit_codes() {
        check("no_such_command", 64, "Command 'no_such_command' not found.");
        check("add_usr u p", 64, "Did you mean 'add_user'?");
        check("add_user", 64, "not enough arguments");
        check("add_vhost a b", 64, "too many arguments");
        check("eval 1+1.", 64, "there is no Erlang here");
        check("-n rabbit@here add_user u p", 69, "unable to perform an operation on node");
        check("--no-such-option list_users", 64, "Invalid options");
    }

    #[test]
    fn every_command_is_there_once_and_shows_itself() {
        for command in commands::COMMANDS {
            assert_eq!(commands::COMMANDS.iter().filter(|c| c.name == command.name).count(), 1);
            assert!(command.usage.starts_with(command.name), "{}", command.name);
            assert!(command.arguments_min <= command.arguments_max);
        }
    }
}
