//! The `rabbitmqctl` program: what it does is in the library, so that tests can have it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    warrenmq::cli::ctl::main()
}
