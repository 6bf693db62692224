//! Foreign suites as child processes: bounded in time, so that a broker that does not answer fails a suite instead of
//! hanging it.

use std::{
    fs::File,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{now, pause};

/// What a suite said and how it ended; one that took too long was ended and has no status.
#[derive(Debug)]
pub(crate) struct Done {
    pub said: String,
    pub errors: String,
    pub status: Option<ExitStatus>,
}

impl Done {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

/// Runs a command to its end, or ends it after the limit.
pub(crate) fn within(command: &mut Command, limit: Duration) -> Done {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let file = |path| File::create(path).expect("a temporary file");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file(&out))
        .stderr(file(&err))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let started = now();
    let mut interrupted = false;
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break (!interrupted).then_some(status),
            None if started.elapsed() > limit + GRACE => {
                // It may just have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None if started.elapsed() > limit && !interrupted => {
                // As by Ctrl-C: pytest ends its tests, which end the brokers that they started.
                interrupted = true;
                let _ = rustix::process::kill_process(Pid::from_child(&child), Signal::INT);
            }
            None => pause(Duration::from_millis(10)),
        }
    };
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let mut errors = text(&err);
    if status.is_none() {
        errors.push_str(&format!("\nended after {limit:?}"));
    }
    Done { said: text(&out), errors, status }
}

/// How long an interrupted suite may take to clean up.
const GRACE: Duration = Duration::from_secs(10);
