//! Rows of `fixtures/amqp/rows/*.toml`: read, checked for being whole, and run on a server.
//!
//! A script's lines: `> command` and `< answer` on connection A (`B> …` on B, opened when first named), `open B key=value`
//! and `tcp B` to open one otherwise, `! METHOD /path body` for the management API. Answers may be for some versions
//! (`<[3.12]`, `<[3.13+]`, `<[-3.13]`), `…` stands for anything, `end` is the end of the stream, `end slow` not before
//! RabbitMQ's three seconds, `octets …` everything up to the end, `quiet` that nothing else has come, `blocked` that nothing more can be asked, `skip LINE until LINE`
//! any number of the first before the second. `ask COMMAND until LINE` asks again until that is the answer.
//! `! 404 GET /path` waits for that status of the management API, `! GET /path {"key":value}` until its answer has these.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde::Deserialize;

use super::{
    hear::{Opening, Peer},
    speak::{bytes, raw, words},
};

/// The versions that `--compat` knows, in their order.
pub(crate) const VERSIONS: [&str; 4] = ["3.12", "3.13", "4.2", "4.3"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Of the compatibility list: `3.16` is row 16 of section 3; of the others, `section.word`.
    pub rows: Vec<String>,
    pub name: String,
    /// `M`: measured on RabbitMQ 3.10; `S`: read in its sources; `W`: Warren's own.
    pub source: char,
    /// Only in these versions.
    #[serde(default)]
    pub versions: Option<String>,
    /// Options of `warren serve`; such a row is not for the oracle.
    #[serde(default)]
    pub options: Vec<String>,
    /// Waits for seconds; runs beside others.
    #[serde(default)]
    pub slow: bool,
    #[serde(default)]
    pub properties: bool,
    /// Headers are shown behind bodies, as scripts write them: `{a=I1,b=Sx}`.
    #[serde(default)]
    pub headers: bool,
    pub script: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    row: Vec<Row>,
}

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    pub amqp: SocketAddr,
    pub admin: Option<SocketAddr>,
}

/// All rows, from all files.
pub(crate) fn rows() -> Vec<Row> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/amqp/rows");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("fixtures/amqp/rows")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).expect("a file of rows");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.row
    };
    files.iter().flat_map(read).collect()
}

/// A table of names and reasons: `name TAB rest`.
pub(crate) fn listed(file: &str) -> BTreeMap<String, String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/amqp").join(file);
    let text = std::fs::read_to_string(path).expect("a list");
    let line = |line: &str| {
        let (name, rest) = line.split_once('\t').unwrap_or_else(|| panic!("{file}: {line}: name TAB reason"));
        (name.to_owned(), rest.to_owned())
    };
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(line).collect()
}

/// Whether a version lies in `3.13`, `3.13+` or `-3.13`.
pub(crate) fn holds(range: &str, version: &str) -> bool {
    let at =
        |name: &str| VERSIONS.iter().position(|v| *v == name).unwrap_or_else(|| panic!("no version {name}"));
    if let Some(from) = range.strip_suffix('+') {
        at(version) >= at(from)
    } else if let Some(to) = range.strip_prefix('-') {
        at(version) <= at(to)
    } else {
        at(version) == at(range)
    }
}

impl Row {
    pub(crate) fn runs_in(&self, version: &str) -> bool {
        self.versions.as_ref().is_none_or(|range| holds(range, version))
    }

    /// Runs the script as that version; says what was wrong.
    pub(crate) fn run(&self, server: Server, version: &str) -> Result<(), String> {
        let mut stage = Stage { server, row: self, peers: BTreeMap::new(), written: None };
        for line in self.script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("--")) {
            stage.line(line, version).map_err(|wrong| format!("{line}\n      {wrong}"))?;
        }
        stage.flush().map_err(|error| error.to_string())?;
        let names: Vec<String> = stage.peers.keys().cloned().collect();
        for name in names {
            stage.quiet(&name).map_err(|wrong| format!("at the end, on {name}: {wrong}"))?;
        }
        Ok(())
    }
}

/// The connections of a script that runs.
struct Stage<'a> {
    server: Server,
    row: &'a Row,
    peers: BTreeMap<String, Peer>,
    /// Commands to the same connection leave in one write.
    written: Option<(String, Vec<u8>)>,
}

impl Stage<'_> {
    fn line(&mut self, line: &str, version: &str) -> Result<(), String> {
        if let Some(call) = line.strip_prefix("! ") {
            self.flush().map_err(|error| error.to_string())?;
            return self.call(call);
        }
        if let Some(rest) = line.strip_prefix("open ") {
            return self.open(rest).map_err(|error| error.to_string());
        }
        if let Some(name) = line.strip_prefix("tcp ") {
            let peer = Peer::tcp(self.server.amqp).map_err(|error| error.to_string())?;
            self.peers.insert(name.to_owned(), peer);
            return Ok(());
        }
        if let Some((command, answer)) = line.strip_prefix("ask ").and_then(|l| l.split_once(" until ")) {
            self.flush().map_err(|error| error.to_string())?;
            return self.ask(command, answer);
        }
        let at = line.find(['<', '>']).ok_or("neither < nor >")?;
        let (name, rest) = (if at == 0 { "A" } else { &line[..at] }, &line[at + 1..]);
        if line[at..].starts_with('>') {
            return self.say(name, rest).map_err(|error| error.to_string());
        }
        let rest = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((range, _)) if !holds(range, version) => return Ok(()),
            Some((_, rest)) => rest,
            None => rest,
        };
        self.flush().map_err(|error| error.to_string())?;
        self.expect(name, rest.trim())
    }

    fn peer(&mut self, name: &str) -> io::Result<&mut Peer> {
        if !self.peers.contains_key(name) {
            let mut peer = Peer::open(self.server.amqp, &Opening::default())?;
            peer.shows_properties = self.row.properties;
            peer.shows_headers = self.row.headers;
            self.peers.insert(name.to_owned(), peer);
        }
        self.peers.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&mut self, rest: &str) -> io::Result<()> {
        let mut how = Opening::default();
        let mut words = words(rest);
        let name = words.remove(0);
        for word in words {
            let (option, text) = word.split_once('=').expect("key=value");
            let number = || text.parse::<u32>().expect("a number");
            match option {
                "mechanism" => how.mechanism = text.to_owned(),
                "user" => how.user = text.to_owned(),
                "password" => how.password = text.to_owned(),
                "vhost" => how.vhost = text.to_owned(),
                "channel_max" => how.channel_max = u16::try_from(number()).expect("a short"),
                "frame_max" => how.frame_max = number(),
                "heartbeat" => how.heartbeat_s = u16::try_from(number()).expect("a short"),
                "without" => how.without = text.to_owned(),
                _ => panic!("no option {option}"),
            }
        }
        let mut peer = Peer::open(self.server.amqp, &how)?;
        peer.shows_properties = self.row.properties;
        peer.shows_headers = self.row.headers;
        self.peers.insert(name, peer);
        Ok(())
    }

    fn say(&mut self, name: &str, command: &str) -> io::Result<()> {
        if self.written.as_ref().is_some_and(|(other, _)| other != name) {
            self.flush()?;
        }
        let (_, out) = self.written.get_or_insert_with(|| (name.to_owned(), Vec::new()));
        let command = command.trim();
        match command.split_once(' ') {
            Some(("times", rest)) => {
                let (count, rest) = rest.split_once(' ').expect("times N command");
                out.extend(bytes(rest).repeat(count.parse().expect("a count")));
            }
            Some(("start-ok", rest)) => {
                let words = words(rest);
                let capabilities: Vec<&str> = words[2..].iter().map(String::as_str).collect();
                out.extend(super::speak::start_ok(&words[0], &raw(&words[1]), &capabilities));
            }
            Some(_) | None => out.extend(bytes(command)),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.written.take() {
            Some((name, out)) => self.peer(&name)?.send(&out),
            None => Ok(()),
        }
    }

    fn expect(&mut self, name: &str, expected: &str) -> Result<(), String> {
        if expected == "quiet" {
            return self.quiet(name);
        }
        let peer = self.peer(name).map_err(|error| error.to_string())?;
        if expected == "blocked" {
            // Nothing is read, so nothing can be asked: the script ends here for this connection.
            peer.open = false;
            return Ok(());
        }
        if let Some(counts) = expected.strip_prefix("confirms ") {
            return confirms(peer, counts);
        }
        if let Some(octets) = expected.strip_prefix("octets ") {
            let expected: Vec<u8> = words(octets).iter().flat_map(|word| raw(word)).collect();
            let found = peer.rest().map_err(|error| error.to_string())?;
            return same(&format!("{found:?}"), &format!("{expected:?}"));
        }
        let mut found = peer.line().map_err(|error| error.to_string())?;
        let mut expected = expected;
        if let Some((pattern, behind)) = expected.strip_prefix("skip ").and_then(|e| e.split_once(" until "))
        {
            while matches(pattern, &found) {
                found = peer.line().map_err(|error| error.to_string())?;
            }
            expected = behind;
        }
        if found.starts_with("connection.close") || found.starts_with("channel.close") || found == "end" {
            peer.open = false;
        } else if found == "channel.open-ok" {
            peer.open = true;
        }
        if expected == "end slow" {
            let silence = peer.silence();
            if found == "end" && silence < Duration::from_millis(2_500) {
                return Err(format!("after {silence:?} already"));
            }
            return same(&found, "end");
        }
        if matches(expected, &found) { Ok(()) } else { same(&found, expected) }
    }

    /// Asks on A until the answer is that one.
    fn ask(&mut self, command: &str, answer: &str) -> Result<(), String> {
        let peer = self.peer("A").map_err(|error| error.to_string())?;
        let started = super::support::now();
        loop {
            peer.send(&bytes(command)).map_err(|error| error.to_string())?;
            let found = peer.line().map_err(|error| error.to_string())?;
            if matches(answer, &found) {
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(10) {
                return same(&found, answer);
            }
            super::support::pause(Duration::from_millis(20));
        }
    }

    /// Nothing else has come: asks twice for something that changes nothing.
    fn quiet(&mut self, name: &str) -> Result<(), String> {
        let peer = self.peer(name).map_err(|error| error.to_string())?;
        for _ in 0..2 {
            if peer.open {
                peer.send(&bytes("channel.flow active")).map_err(|error| error.to_string())?;
                same(&peer.line().map_err(|error| error.to_string())?, "channel.flow-ok 1")?;
            }
        }
        Ok(())
    }

    fn call(&self, call: &str) -> Result<(), String> {
        let admin = self.server.admin.ok_or("no management API")?;
        let (status, call) = match call.split_once(' ') {
            Some(("404", call)) => ("404", call),
            Some(_) | None => ("2", call),
        };
        let mut parts = call.splitn(3, ' ');
        let (method, path) = (parts.next().ok_or("a method")?, parts.next().ok_or("a path")?);
        let path = match self.peers.get("A") {
            Some(peer) if path.contains("$A") => path.replace("$A", &peer.name().map_err(|e| e.to_string())?),
            Some(_) | None => path.to_owned(),
        };
        let text = parts.next().unwrap_or_default();
        let (body, expected) = if method == "GET" { ("", text) } else { (text, "") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let talk = || -> io::Result<String> {
            let mut socket = TcpStream::connect(admin)?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            socket.write_all(request.as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).map(|_| answer)
        };
        let mut answer = talk().map_err(|error| error.to_string())?;
        // RabbitMQ's management learns of connections after a while, and a queue expires after one.
        let started = super::support::now();
        let done = |answer: &str| {
            answer.split(' ').nth(1).is_some_and(|found| found.starts_with(status)) && has(answer, expected)
        };
        while (answer.starts_with("HTTP/1.1 404") || status == "404" || !expected.is_empty())
            && !done(&answer)
            && started.elapsed() < Duration::from_secs(8)
        {
            super::support::pause(Duration::from_millis(200));
            answer = talk().map_err(|error| error.to_string())?;
        }
        if done(&answer) {
            return Ok(());
        }
        let said = if expected.is_empty() { answer.lines().next().unwrap_or_default() } else { &answer };
        Err(said.to_owned())
    }
}

/// Whether the JSON of an answer has these fields; those of `null` must be absent or null.
fn has(answer: &str, expected: &str) -> bool {
    let Some((_, body)) = answer.split_once("\r\n\r\n").filter(|_| !expected.is_empty()) else { return true };
    let expected: serde_json::Value = serde_json::from_str(expected).expect("fields in JSON");
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    expected.as_object().expect("an object").iter().all(|(name, value)| &body[name.as_str()] == value)
}

/// `N in M`: every publish up to N is acknowledged once, in fewer than M frames.
fn confirms(peer: &mut Peer, counts: &str) -> Result<(), String> {
    let mut counts = counts.split(" in ").map(|n| n.parse::<u64>().expect("a number"));
    let (all, frames_max) = (counts.next().ok_or("N")?, counts.next().ok_or("M")?);
    let mut waiting: std::collections::BTreeSet<u64> = (1..=all).collect();
    let mut frames = 0;
    while !waiting.is_empty() {
        let line = peer.line().map_err(|error| error.to_string())?;
        let words: Vec<&str> = line.split(' ').collect();
        let tag: u64 = match words[..] {
            ["basic.ack", tag, ..] => tag.parse().map_err(|_| line.clone())?,
            _ => return Err(line),
        };
        if words.get(2) == Some(&"multiple") {
            waiting = waiting.split_off(&(tag + 1));
        } else if !waiting.remove(&tag) {
            return Err(format!("{tag} is confirmed twice"));
        }
        frames += 1;
    }
    if frames < frames_max { Ok(()) } else { Err(format!("{frames} frames for {all} publishes")) }
}

/// `…` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (n, part) in parts.iter().enumerate() {
        if n + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.is_empty()
}

fn same(found: &str, expected: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("not: {expected}\n      but: {found}")) }
}
