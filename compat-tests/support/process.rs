//! Foreign suites as child processes: bounded in time, so that a broker that does not answer fails a suite instead of
//! hanging it.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use tempfile::TempDir;

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
    fed(command, Stdio::null(), limit)
}

/// As [`within`], with something to read.
pub(crate) fn fed(command: &mut Command, input: Stdio, limit: Duration) -> Done {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut child = spawned(command, input, directory.path());
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
    let (said, mut errors) = said(directory.path());
    if status.is_none() {
        errors.push_str(&format!("\nended after {limit:?}"));
    }
    Done { said, errors, status }
}

/// What it says goes into two files of the directory.
fn spawned(command: &mut Command, input: Stdio, directory: &Path) -> Child {
    let file = |name| File::create(directory.join(name)).expect("a temporary file");
    command
        .stdin(input)
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn said(directory: &Path) -> (String, String) {
    let text =
        |name| String::from_utf8_lossy(&std::fs::read(directory.join(name)).unwrap_or_default()).into_owned();
    (text("out"), text("err"))
}

/// A program that does not end by itself; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    directory: TempDir,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { child: spawned(command, Stdio::null(), directory.path()), directory }
    }

    /// Fails the test, with what the program said, when it has ended.
    pub(crate) fn must_run(&mut self) {
        let ended = self.child.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "it ended: {:?}", said(self.directory.path()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long an interrupted suite may take to clean up.
const GRACE: Duration = Duration::from_secs(10);
