//! The process' own figures: open files, resident memory, free disk space, the machine's memory.
//!
//! Read when somebody asks, never in the background: an idle server does nothing.

use std::{fs, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files and sockets this process has open.
#[must_use]
pub fn open_fds() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// How many it may have open.
#[must_use]
pub fn max_fds() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lets this process have as many open as it may ask for: shells start programs with 1,024, which is kept low for
/// programs that use `select`. Returns how many it may have now.
pub fn raise_max_fds() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    max_fds()
}

/// Resident memory.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The memory this process may use: the machine's, or its control group's where that is less.
#[must_use]
pub fn memory_total_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.unwrap_or(u64::MAX).min(group.unwrap_or(u64::MAX))
}

/// Space left to us on the disk that holds `path`.
#[must_use]
pub fn disk_free_bytes(path: &Path) -> Option<u64> {
    volume_bytes(path).map(|(_, free)| free)
}

/// The size of the disk that holds `path`, and what is left to us of it.
#[must_use]
pub fn volume_bytes(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_memory_files_and_a_disk() {
        assert!(resident_bytes() > 100_000 && open_fds() >= 3 && max_fds() >= open_fds());
        assert!(memory_total_bytes() > resident_bytes());
        assert!(disk_free_bytes(Path::new(".")).is_some_and(|free| free > 0));
    }
}
