//! `warren sql`: sends SQL to a running server over its admin door, and shows what became of it.
//!
//! Exit codes: 0 when what was asked is so; 1 when the server refused or cannot be reached; 2 when what was asked
//! makes no sense here (no such file).

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use ureq::Agent;

use crate::{
    admin::source::{JobRow, Printed},
    cli::{
        USAGE,
        https::{self, Https},
    },
};

/// `warren sql …`
#[derive(Debug, Args)]
pub(super) struct Sql {
    #[command(subcommand)]
    command: Command,
    /// The server's admin door
    #[arg(long, global = true, env = "WARREN_URL", default_value = "http://127.0.0.1:15672")]
    url: String,
    #[arg(long, global = true, env = "WARREN_USER", default_value = "guest")]
    user: String,
    #[arg(long, global = true, env = "WARREN_PASSWORD", default_value = "guest", hide_env_values = true)]
    password: String,
    #[command(flatten)]
    https: Https,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the jobs of a file; exits 0 once they run
    Run {
        file: PathBuf,
        /// Stay and show what `print` tables receive
        #[arg(long)]
        follow: bool,
        /// Edit jobs that exist under the same names: operators that both texts have keep their state
        #[arg(long)]
        replace: bool,
    },
    /// Show the jobs
    List,
    /// Show what would be run
    Explain { file: PathBuf },
    /// Stop a job after the records it is working on; it keeps its place
    Pause { job: String },
    /// Let a paused or failed job go on
    Resume { job: String },
    /// Forget a job's state and begin again
    Reset {
        job: String,
        /// Where: earliest, latest or milliseconds since 1970; as its text says if not given
        #[arg(long)]
        to: Option<String>,
    },
    /// Stop a job and forget its state
    Drop { job: String },
    /// Print the text that a job was made from, which runs on Flink as well
    Export { job: String },
}

/// Why it did not work.
#[derive(Debug, PartialEq)]
enum Failure {
    /// What was asked makes no sense here.
    Usage(String),
    /// The server has no such thing.
    NotFound,
    /// The server refused, or cannot be reached.
    Refused(String),
}

impl Failure {
    fn report(self) -> ExitCode {
        let (code, text) = match self {
            Self::Usage(text) => (USAGE, text),
            Self::NotFound => {
                (1, "the server has no such thing; is it a Warren, and of this version?".to_owned())
            }
            Self::Refused(text) => (1, text),
        };
        eprintln!("warren sql: {text}");
        ExitCode::from(code)
    }
}

impl Sql {
    pub(super) fn run(self) -> ExitCode {
        let server = match Server::new(&self) {
            Ok(server) => server,
            Err(failure) => return failure.report(),
        };
        let done = match self.command {
            Command::Run { file, follow, replace } => server.run(&file, follow, replace),
            Command::List => server.jobs().map(|jobs| show(&jobs)),
            Command::Explain { file } => server.explain(&file),
            Command::Pause { job } => server.order(&job, "pause"),
            Command::Resume { job } => server.order(&job, "resume"),
            Command::Reset { job, to } => {
                server.order(&job, &to.map_or("reset".to_owned(), |to| format!("reset?to={}", encode(&to))))
            }
            Command::Drop { job } => server.drop_job(&job),
            Command::Export { job } => server.export(&job),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }
}

/// The server as seen from here.
struct Server {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Server {
    fn new(sql: &Sql) -> Result<Self, Failure> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The admin door sends nobody elsewhere, and what else answers here is not it.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT))
            .tls_config(sql.https.config(&sql.url).map_err(Failure::Usage)?)
            .build();
        Ok(Self {
            agent: config.into(),
            url: sql.url.trim_end_matches('/').to_owned(),
            authorization: format!("Basic {}", STANDARD.encode(format!("{}:{}", sql.user, sql.password))),
        })
    }

    fn run(&self, file: &Path, follow: bool, replace: bool) -> Result<(), Failure> {
        let sql = read(file)?;
        let said = self.post("/api/streams/show", sql.clone()).map_err(|failure| in_file(file, failure))?;
        print!("{said}");
        // Asked before the jobs start, so that their first lines are not missed.
        let from = if follow { self.printed("")?.next } else { 0 };
        let path = if replace { "/api/streams?replace=true" } else { "/api/streams" };
        let answer = self.post(path, sql).map_err(|failure| in_file(file, failure))?;
        let jobs: Vec<JobRow> = decode(&answer)?;
        show(&jobs);
        if replace {
            jobs.iter().for_each(show_kept);
        }
        if follow { self.follow(&jobs, from) } else { Ok(()) }
    }

    /// Shows what is printed until a job fails or somebody interrupts.
    fn follow(&self, jobs: &[JobRow], mut next: u64) -> Result<(), Failure> {
        loop {
            let printed = self.printed(&format!("?after={next}"))?;
            next = printed.next;
            for line in &printed.lines {
                println!("{line}");
            }
            if printed.lines.is_empty() {
                let now = self.jobs()?;
                let ours = now.iter().filter(|j| jobs.iter().any(|ours| ours.name == j.name));
                let (mut alive, mut failed) = (false, None);
                for job in ours {
                    alive |= job.state == "running";
                    failed = failed.or(job.error.as_ref().map(|e| format!("{}: {e}", job.name)));
                }
                match failed {
                    Some(error) => return Err(Failure::Refused(error)),
                    None if !alive => return Ok(()),
                    None => {}
                }
            }
        }
    }

    fn printed(&self, query: &str) -> Result<Printed, Failure> {
        decode(&self.get(&format!("/api/streams/printed{query}"))?)
    }

    fn jobs(&self) -> Result<Vec<JobRow>, Failure> {
        decode(&self.get("/api/streams")?)
    }

    fn explain(&self, file: &Path) -> Result<(), Failure> {
        let plan =
            self.post("/api/streams/explain", read(file)?).map_err(|failure| in_file(file, failure))?;
        println!("{}", plan.trim_end());
        Ok(())
    }

    /// `pause`, `resume` or `reset`.
    fn order(&self, job: &str, what: &str) -> Result<(), Failure> {
        match self.post(&format!("/api/streams/{}/{what}", encode(job)), String::new()) {
            Err(Failure::NotFound) => Err(Failure::Refused(format!("there is no job `{job}`"))),
            answer => {
                show(&[decode::<JobRow>(&answer?)?]);
                Ok(())
            }
        }
    }

    fn export(&self, job: &str) -> Result<(), Failure> {
        match self.get(&format!("/api/streams/{}", encode(job))) {
            Err(Failure::NotFound) => Err(Failure::Refused(format!("there is no job `{job}`"))),
            answer => {
                println!("{}", decode::<JobRow>(&answer?)?.sql.trim_end());
                Ok(())
            }
        }
    }

    fn drop_job(&self, job: &str) -> Result<(), Failure> {
        let url = format!("{}/api/streams/{}", self.url, encode(job));
        let sent = self.agent.delete(&url).header("Authorization", &self.authorization).call();
        match self.answer(sent) {
            Err(Failure::NotFound) => Err(Failure::Refused(format!("there is no job `{job}`"))),
            answer => answer.map(|_| println!("dropped {job}")),
        }
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let url = format!("{}{path}", self.url);
        self.answer(self.agent.get(&url).header("Authorization", &self.authorization).call())
    }

    fn post(&self, path: &str, sql: String) -> Result<String, Failure> {
        let url = format!("{}{path}", self.url);
        let request = self.agent.post(&url).header("Authorization", &self.authorization);
        self.answer(request.header("Content-Type", "text/plain; charset=utf-8").send(sql))
    }

    fn answer(&self, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, Failure> {
        let unreachable = |e: ureq::Error| {
            Failure::Refused(format!(
                "cannot reach the server at {}: {}; is it running, and is --url right?",
                self.url,
                https::reason(&self.url, &e)
            ))
        };
        let mut response = sent.map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().read_to_string().map_err(unreachable)?;
        match status.as_u16() {
            200..=299 => Ok(body),
            401 => {
                Err(Failure::Refused(format!("{} refuses the login; check --user and --password", self.url)))
            }
            404 => Err(Failure::NotFound),
            _ => Err(Failure::Refused(
                reason(&body).unwrap_or_else(|| format!("the server answered {status}")),
            )),
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::Usage(format!("cannot read {}: {e}", file.display())))
}

/// Complaints about SQL begin with `line:column`; before it belongs the file.
fn in_file(file: &Path, failure: Failure) -> Failure {
    match failure {
        Failure::Refused(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            Failure::Refused(format!("{}:{text}", file.display()))
        }
        other @ (Failure::NotFound | Failure::Refused(_) | Failure::Usage(_)) => other,
    }
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|e| Failure::Refused(format!("the server's answer makes no sense here: {e}")))
}

fn reason(body: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(value.get("reason")?.as_str()?.to_owned())
}

/// A name as one segment of a path.
fn encode(name: &str) -> String {
    name.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn show(jobs: &[JobRow]) {
    for job in jobs {
        let (inputs, outputs) = (job.inputs.join(","), job.outputs.join(","));
        let error = job.error.as_ref().map(|e| format!("  {e}")).unwrap_or_default();
        println!("{}  {}  {inputs} -> {outputs}{error}", job.name, job.state);
    }
}

/// Which operators of an edited job went on with their state.
fn show_kept(job: &JobRow) {
    for operator in &job.operators {
        let kept = if operator.kept { "kept" } else { "new" };
        println!("  {kept}  {}  {}", operator.id, operator.name);
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than any long poll.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_name_is_one_segment() {
        assert_eq!(encode("insert into/out put"), "insert%20into%2Fout%20put");
    }

    #[test]
    fn a_complaint_about_sql_names_the_file() {
        let failure = in_file(Path::new("a.sql"), Failure::Refused("3:7: no such column".into()));
        assert_eq!(failure, Failure::Refused("a.sql:3:7: no such column".into()));
    }
}
