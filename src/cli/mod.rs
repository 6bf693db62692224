//! The command line: `warren serve` (also without a word) and `warren sql`; `ctl` is the binary `rabbitmqctl`.
//!
//! Options of `serve` are keys of the configuration under shorter names; what starts is [`serve`]'s.

pub mod ctl;
pub mod doors;
mod https;
pub mod jobs;
pub mod serve;
mod settings;
mod sql;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::config::{Loaded, load::Said};

#[derive(Debug, Parser)]
#[command(name = "warren", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Serve(Serve),
    /// Run and manage SQL stream jobs in a running server
    Sql(sql::Sql),
}

/// Options of `warren serve`. Each sets a key of the configuration; `--set` sets any other.
#[derive(Debug, Args)]
struct Serve {
    /// Configuration file (TOML)
    #[arg(long, env = "WARREN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep everything in memory only
    #[arg(long)]
    ephemeral: bool,
    /// Where the data lies
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What a confirm waits for: fsync or os
    #[arg(long, value_name = "fsync|os")]
    durability: Option<String>,
    /// Where doors listen whose address names no host, for example 0.0.0.0
    #[arg(long, value_name = "HOST[,HOST]")]
    listen: Option<String>,
    /// AMQP 0-9-1 door
    #[arg(long, value_name = ADDRESS)]
    amqp: Option<String>,
    /// Kafka door
    #[arg(long, value_name = ADDRESS)]
    kafka: Option<String>,
    /// Redis door
    #[arg(long, value_name = ADDRESS)]
    redis: Option<String>,
    /// ZeroMQ door
    #[arg(long, value_name = ADDRESS)]
    zmq: Option<String>,
    /// Management HTTP API
    #[arg(long, value_name = ADDRESS)]
    admin: Option<String>,
    /// Prometheus metrics
    #[arg(long, value_name = ADDRESS)]
    metrics: Option<String>,
    /// Listen for TLS, too, with certificates to test with, made in DIR if it has none
    #[arg(long, value_name = "DIR")]
    dev_tls: Option<String>,
    /// Behave as this RabbitMQ: 3.12, 3.13, 4.2 or 4.3
    #[arg(long, value_name = "VERSION")]
    compat: Option<String>,
    /// Set any key of the configuration
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print one line of JSON with the address of each door once all of them accept
    #[arg(long)]
    print_ready: bool,
}

const ADDRESS: &str = "HOST:PORT|off";

/// What went wrong with what was asked: a wrong option, a busy port, a locked directory.
const USAGE: u8 = 2;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Sql(sql)) => sql.run(),
        Some(Command::Serve(serve)) => serve.run(),
        None => cli.serve.run(),
    }
}

impl Serve {
    fn run(self) -> ExitCode {
        let print_ready = self.print_ready;
        let loaded = match Loaded::load(&self.said(std::env::vars().collect())) {
            Ok(loaded) => loaded,
            Err(problem) => return complain(&problem),
        };
        crate::observe::trace::start(&loaded.config.log);
        match serve::run(loaded, print_ready) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        }
    }

    /// The options as keys of the configuration.
    fn said(self, environment: Vec<(String, String)>) -> Said {
        let options = [
            ("ephemeral", "store.ephemeral", self.ephemeral.then(|| "true".to_owned())),
            ("data-dir", "store.data_dir", self.data_dir),
            ("durability", "store.durability", self.durability),
            ("listen", "server.listen", self.listen),
            ("amqp", "amqp.address", self.amqp),
            ("kafka", "kafka.address", self.kafka),
            ("redis", "redis.address", self.redis),
            ("zmq", "zmq.address", self.zmq),
            ("admin", "admin.address", self.admin),
            ("metrics", "metrics.address", self.metrics),
            ("dev-tls", "tls.dev_dir", self.dev_tls),
            ("compat", "server.compat", self.compat),
        ];
        let options = options
            .into_iter()
            .filter_map(|(option, key, text)| text.map(|text| (option, key, text)))
            .collect();
        Said { file: self.config, environment, options, set: self.set }
    }
}

fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("warren: {error}");
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Said {
        let cli = Cli::parse_from(line.split(' '));
        let serve = match cli.command {
            Some(Command::Serve(serve)) => serve,
            Some(Command::Sql(_)) => panic!("not serve"),
            None => cli.serve,
        };
        serve.said(Vec::new())
    }

    #[test]
    fn serve_is_the_default_and_each_option_is_a_key() {
        let line = "warren --ephemeral --amqp 127.0.0.1:0 --kafka off --redis 127.0.0.1:1 --zmq off --set amqp.heartbeat_s=5";
        let loaded = Loaded::load(&said(line)).unwrap();
        assert!(loaded.config.store.ephemeral && loaded.named.contains("redis.address"));
        assert_eq!(loaded.config.amqp.heartbeat_s, 5);
        assert_eq!(loaded.config.kafka.address, crate::config::Address::Off);
        assert!(!loaded.named.contains("admin.address"));
    }

    #[test]
    fn every_option_names_a_key_that_exists() {
        let line = "warren serve --ephemeral --data-dir d --durability os --listen 0.0.0.0 --amqp 1 --kafka 2 --redis 3 \
                    --zmq 4 --admin 5 --metrics 6 --dev-tls d --compat 3.13";
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        Loaded::load(&said(&line)).unwrap();
    }

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
