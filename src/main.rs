//! The `warren` program: everything is in the library, so that tests can have it too.

use std::process::ExitCode;

/// Messages are allocated on one thread and freed on another, which the system's allocator does badly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    warrenmq::cli::main()
}
