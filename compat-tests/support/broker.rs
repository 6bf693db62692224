//! The `warren` binary as a child process: started on free ports, killed, restarted on the same ones, stopped.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;

use super::{eventually, now};

/// A running broker; dropped, it is killed and its directory removed.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    doors: Doors,
    options: Vec<String>,
    ephemeral: bool,
    directory: TempDir,
}

/// Where the doors listen, from the ready line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doors {
    pub amqp: SocketAddr,
    pub kafka: SocketAddr,
    pub redis: SocketAddr,
    pub zmq: SocketAddr,
    pub admin: SocketAddr,
    pub metrics: SocketAddr,
}

impl Broker {
    /// On a data directory of its own, on free ports.
    pub(crate) fn durable(options: &[&str]) -> Self {
        Self::new(options, false)
    }

    /// In memory, on free ports.
    pub(crate) fn ephemeral(options: &[&str]) -> Self {
        Self::new(options, true)
    }

    fn new(options: &[&str], ephemeral: bool) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let free =
            Doors { amqp: any(), kafka: any(), redis: any(), zmq: any(), admin: any(), metrics: any() };
        let (child, doors) = start(directory.path(), &options, ephemeral, free);
        Self { child, doors, options, ephemeral, directory }
    }

    pub(crate) fn doors(&self) -> Doors {
        self.doors
    }

    /// Lets a suite raise alarms: the variable under which it looks for a `rabbitmqctl`, and that one's way to us.
    pub(crate) fn lend_ctl(&self, command: &mut Command, variable: &str) {
        command.env(variable, ctl()).env("WARREN_URL", format!("http://{}", self.doors.admin));
        command.env_remove("WARREN_USER").env_remove("WARREN_PASSWORD");
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// SIGKILL: nothing of the process runs any more when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the broker can be killed");
        self.child.wait().expect("the broker can be waited for");
    }

    /// Again on the same data directory and the same ports.
    pub(crate) fn restart(&mut self) {
        (self.child, self.doors) = start(self.directory.path(), &self.options, self.ephemeral, self.doors);
    }

    /// SIGTERM, and the exit status once it has drained.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the broker takes a signal");
        let mut status = None;
        eventually("the broker stops on SIGTERM", Duration::from_secs(20), || {
            status = self.child.try_wait().expect("the broker can be waited for");
            status.is_some()
        });
        status.expect("just seen")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the broker can be waited for").is_none()
    }

    /// Resident memory, from the kernel; `None` where there is no /proc.
    pub(crate) fn rss_bytes(&self) -> Option<u64> {
        self.memory_bytes("VmRSS:")
    }

    /// The most that was ever resident.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|text| text.starts_with(line))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Processor time so far, of all threads and in the kernel too; `None` where there is no /proc.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name, in parentheses, may have spaces: utime and stime are the 12th and 13th field after it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some((ticks(11)? + ticks(12)?) * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// Bytes written to the disk so far; `None` where the kernel does not count them.
    pub(crate) fn written_bytes(&self) -> Option<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).ok()?;
        io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
    }

    /// Open file descriptors; `None` where there is no /proc.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?.count())
    }

    /// The last lines the broker logged, for failure messages.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.directory.path().join("log"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            super::report::say(&format!("the broker's log ends with\n{}", self.log_tail()));
        }
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test: this build's, or the one named by `WARREN_BIN`.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("WARREN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_warren").into(), PathBuf::from)
}

/// The `rabbitmqctl` beside it.
pub(crate) fn ctl() -> PathBuf {
    std::env::var_os("WARREN_BIN").map_or_else(
        || env!("CARGO_BIN_EXE_rabbitmqctl").into(),
        |binary| Path::new(&binary).with_file_name("rabbitmqctl"),
    )
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn start(directory: &Path, options: &[String], ephemeral: bool, doors: Doors) -> (Child, Doors) {
    let log = directory.join("log");
    let stderr = File::options().create(true).append(true).open(&log).expect("a log file");
    let mut command = Command::new(binary());
    command.arg("serve").arg("--print-ready");
    for (door, address) in [
        ("amqp", doors.amqp),
        ("kafka", doors.kafka),
        ("redis", doors.redis),
        ("zmq", doors.zmq),
        ("admin", doors.admin),
        ("metrics", doors.metrics),
    ] {
        command.arg(format!("--{door}")).arg(address.to_string());
    }
    if ephemeral {
        command.arg("--ephemeral");
    } else {
        command.arg("--data-dir").arg(directory.join("data"));
    }
    command.args(options);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("warren starts");
    let Some(ready) = ready_line(&mut child, &log) else {
        // Either it has exited, or it must not be left behind.
        let _ = child.kill();
        let status = child.wait();
        panic!("warren was not ready ({status:?}); its log ends with\n{}", tail(&log));
    };
    let address = |door: &str| {
        // A door that is not open has port 0, to which nothing connects.
        let Some(text) = ready.get(door).and_then(serde_json::Value::as_str) else { return any() };
        // Not a panic here: nobody owns the child yet.
        text.parse().unwrap_or_else(|_| any())
    };
    let doors = Doors {
        amqp: address("amqp"),
        kafka: address("kafka"),
        redis: address("redis"),
        zmq: address("zmq"),
        admin: address("admin"),
        metrics: address("metrics"),
    };
    (child, doors)
}

/// The ready line, while a thread of its own goes on moving what else comes to the log.
fn ready_line(child: &mut Child, log: &Path) -> Option<serde_json::Value> {
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let mut log = File::options().append(true).open(log).expect("the log file");
    let (ready, wait) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(value @ serde_json::Value::Object(_)) = serde_json::from_str(&line) {
                // Nobody waits for a second one.
                let _ = ready.send(value);
            }
            // A directory that is removed already needs no log.
            let _ = writeln!(log, "{line}");
        }
    });
    let started = now();
    let line = wait.recv_timeout(Duration::from_secs(30)).ok();
    if line.is_some() && started.elapsed() > Duration::from_secs(5) {
        super::report::say(&format!("warren took {:?} to be ready", started.elapsed()));
    }
    line
}

fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(40);
    lines[from..].join("\n")
}
