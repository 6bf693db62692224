//! The way to the server: its admin door over HTTP.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use ureq::{Agent, http};

use super::{Failure, Options};
use crate::{
    admin::json::quote,
    cli::https::{self, Https},
};

/// Who asks, and where.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    authorization: String,
    node: String,
}

/// Any answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The reason of a refusal, as text.
    pub(crate) fn reason(&self) -> String {
        match self.body.get("reason") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => format!("the server answered {}", self.status),
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A path of quoted segments.
pub(crate) fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| quote(segment)).collect::<Vec<_>>().join("/")
}

impl Client {
    /// # Errors
    /// A file of TLS that cannot be used.
    pub(crate) fn new(
        options: &Options,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let or = |name: &str, default: &str| environment(name).unwrap_or_else(|| default.to_owned());
        let (user, password) = (or("WARREN_USER", "guest"), or("WARREN_PASSWORD", "guest"));
        let url = or("WARREN_URL", "http://127.0.0.1:15672").trim_end_matches('/').to_owned();
        let file = |option: &str, name: &str| {
            options.value(option).map(str::to_owned).or_else(|| environment(name)).map(PathBuf::from)
        };
        let https = Https {
            cacert: file("--cacert", "WARREN_CACERT"),
            cert: file("--cert", "WARREN_CERT"),
            key: file("--key", "WARREN_KEY"),
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The admin door sends nobody elsewhere, and what else answers here is not it.
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .tls_config(https.config(&url).map_err(|reason| Failure::Data(format!("Error:\n{reason}")))?)
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            url,
            authorization: basic(&user, &password),
            node: options.node.clone(),
        })
    }

    /// As somebody else.
    pub(crate) fn acting_as(&self, user: &str, password: &str) -> Self {
        Self {
            agent: self.agent.clone(),
            url: self.url.clone(),
            authorization: basic(user, password),
            node: self.node.clone(),
        }
    }

    /// Any call, whatever the answer.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        reason: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.url))
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json");
        if let Some(reason) = reason {
            request = request.header("X-Reason", reason);
        }
        let nonsense = |error: http::Error| Failure::Data(format!("Error:\n{error}"));
        let sent = if ["PUT", "POST"].contains(&method) {
            let body = body.map(Value::to_string).unwrap_or_default();
            self.agent.run(request.body(body).map_err(nonsense)?)
        } else {
            self.agent.run(request.body(()).map_err(nonsense)?)
        };
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// A call that must succeed.
    pub(crate) fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let answer = self.call(method, path, body, None)?;
        if answer.is_ok() { Ok(answer.body) } else { Err(refused(&answer)) }
    }

    /// What lies at a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.must("GET", path, None)
    }

    /// A list at a path.
    pub(crate) fn rows(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let answer = self.get(path)?;
        let no_list = || Failure::Refused(format!("Error:\nthe server answered {answer}"));
        answer.as_array().cloned().ok_or_else(no_list)
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::Unavailable(format!(
            "Error: unable to perform an operation on node '{}'. Please see diagnostics information and suggestions \
             below.\n\n{}: {}\n\nThe admin door's address is WARREN_URL, its login WARREN_USER and WARREN_PASSWORD.",
            self.node,
            self.url,
            https::reason(&self.url, error)
        ))
    }
}

/// A refusal in the tool's words.
pub(crate) fn refused(answer: &Answer) -> Failure {
    let reason = answer.reason();
    match answer.status {
        401 => Failure::Refused(format!("Error:\n{reason}")),
        _ => Failure::Refused(format!("Error:\n{}", reason.trim_end())),
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

const TIMEOUT: Duration = Duration::from_secs(60);

/// Definitions of ten thousand queues are a few megabytes.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;
