//! `rabbitmqctl` against a running server.

use std::process::{Command, Output};

use super::support::broker::Broker;

fn ctl(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rabbitmqctl"));
    command.env("WARREN_URL", format!("http://{}", broker.doors().admin));
    command.args(arguments).output().expect("rabbitmqctl runs")
}

fn check(broker: &Broker, arguments: &[&str], code: i32, text: &str) {
    let output = ctl(broker, arguments);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(text), "{arguments:?}: {said}");
}

#[test]
fn rabbitmqctl_does_what_suites_call_it_for() {
    let broker = Broker::ephemeral(&[]);
    let steps: &[(&[&str], i32, &str)] = &[
        (&["await_startup"], 0, ""),
        (&["-n", "rabbit@host", "add_user", "u", "p"], 0, "Adding user \"u\" ..."),
        (&["add_user", "u", "p"], 70, "already exists"),
        (&["authenticate_user", "u", "p"], 0, "Success"),
        (&["authenticate_user", "u", "x"], 65, "invalid credentials"),
        (&["change_password", "u", "q"], 0, ""),
        (&["authenticate_user", "u", "q"], 0, "Success"),
        (&["set_user_tags", "u", "monitoring", "mine"], 0, ""),
        (&["-q", "list_users"], 0, "u\t[monitoring, mine]\n"),
        (&["add_vhost", "v"], 0, ""),
        (&["-q", "set_permissions", "-p", "v", "u", "^a", "b", ".*"], 0, ""),
        (&["-q", "list_permissions", "-p", "v"], 0, "user\tconfigure\twrite\tread\nu\t^a\tb\t.*\n"),
        (&["set_policy", "-p", "v", "--apply-to", "queues", "p", "^q", "{\"max-length\":1}"], 0, ""),
        (&["set_policy", "-p", "v", "p", "*", "{\"max-length\":1}"], 70, "nothing to repeat"),
        (&["-s", "list_policies", "-p", "v"], 0, "v\tp\t^q\tqueues\t{\"max-length\":1}\t0\n"),
        (&["--formatter", "json", "list_vhosts"], 0, "[\n{\"name\":\"/\"}\n,{\"name\":\"v\"}\n]"),
        (&["set_vm_memory_high_watermark", "absolute", "1GB"], 0, ""),
        (&["set_vm_memory_high_watermark", "0.4"], 0, ""),
        (&["set_disk_free_limit", "1MB"], 0, ""),
        (&["trace_on", "-p", "v"], 0, "Trace enabled for vhost v"),
        (&["close_all_connections", "test over"], 0, "Closed 0 connections"),
        (&["delete_queue", "nope"], 70, "not found"),
        (&["delete_user", "nobody"], 67, "does not exist"),
        (&["status"], 0, "Node name: rabbit@localhost"),
        (&["delete_vhost", "v"], 0, ""),
        (&["export_definitions", "-"], 0, "\"users\""),
        (&["frobnicate"], 64, "Command 'frobnicate' not found."),
    ];
    for (arguments, code, text) in steps {
        check(&broker, arguments, *code, text);
    }
}
