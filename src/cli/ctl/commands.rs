//! THE table of commands: name, how it is called, and what it does.

use super::{Context, Failure, listing, node, output::Shown, policies, users, vhosts};

/// One command.
pub(crate) struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub arguments_min: usize,
    pub arguments_max: usize,
    /// What is printed first; `{0}` is the first argument, `{p}` the vhost.
    banner: &'static str,
    pub run: fn(&Context<'_>) -> Result<Shown, Failure>,
}

const fn command(
    name: &'static str,
    usage: &'static str,
    (arguments_min, arguments_max): (usize, usize),
    banner: &'static str,
    run: fn(&Context<'_>) -> Result<Shown, Failure>,
) -> Command {
    Command { name, usage, arguments_min, arguments_max, banner, run }
}

const ANY: usize = usize::MAX;

/// Every command.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Command] = &[
    command("add_user", "add_user <username> <password> [--pre-hashed-password]", (1, 2), "Adding user \"{0}\" ...", users::add),
    command("delete_user", "delete_user <username>", (1, 1), "Deleting user \"{0}\" ...", users::delete),
    command("change_password", "change_password <username> <password> [--pre-hashed-password]", (1, 2), "Changing password for user \"{0}\" ...", users::change_password),
    command("clear_password", "clear_password <username>", (1, 1), "Clearing password for user \"{0}\" ...", users::clear_password),
    command("authenticate_user", "authenticate_user <username> <password>", (1, 2), "Authenticating user \"{0}\" ...", users::authenticate),
    command("set_user_tags", "set_user_tags <username> <tag> [...]", (1, ANY), "Setting tags for user \"{0}\" to [{1..}] ...", users::set_tags),
    command("list_users", "list_users", (0, 0), "Listing users ...", users::list),
    command("set_permissions", "set_permissions [-p <vhost>] <username> <conf> <write> <read>", (4, 4), "Setting permissions for user \"{0}\" in vhost \"{p}\" ...", users::set_permissions),
    command("clear_permissions", "clear_permissions [-p <vhost>] <username>", (1, 1), "Clearing permissions for user \"{0}\" in vhost \"{p}\" ...", users::clear_permissions),
    command("list_permissions", "list_permissions [-p <vhost>]", (0, 0), "Listing permissions for vhost \"{p}\" ...", users::list_permissions),
    command("list_user_permissions", "list_user_permissions <username>", (1, 1), "Listing permissions for user \"{0}\" ...", users::list_user_permissions),
    command("set_topic_permissions", "set_topic_permissions [-p <vhost>] <username> <exchange> <write> <read>", (4, 4), "Setting topic permissions on \"{1}\" for user \"{0}\" in vhost \"{p}\" ...", users::set_topic_permissions),
    command("clear_topic_permissions", "clear_topic_permissions [-p <vhost>] <username> [<exchange>]", (1, 2), "Clearing topic permissions for user \"{0}\" in vhost \"{p}\" ...", users::clear_topic_permissions),
    command("list_topic_permissions", "list_topic_permissions [-p <vhost>]", (0, 0), "Listing topic permissions for vhost \"{p}\" ...", users::list_topic_permissions),
    command("list_user_topic_permissions", "list_user_topic_permissions <username>", (1, 1), "Listing topic permissions for user \"{0}\" ...", users::list_user_topic_permissions),
    command("set_user_limits", "set_user_limits <username> <definition>", (2, 2), "Setting user limits to \"{1}\" for user \"{0}\" ...", users::set_limits),
    command("clear_user_limits", "clear_user_limits <username> <limit_type> | all", (1, 2), "Clearing \"{1}\" limits for user \"{0}\" ...", users::clear_limits),
    command("list_user_limits", "list_user_limits [--user <username>]", (0, 1), "Listing limits for users ...", users::list_limits),
    command("add_vhost", "add_vhost <vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]", (1, 1), "Adding vhost \"{0}\" ...", vhosts::add),
    command("update_vhost_metadata", "update_vhost_metadata <vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]", (1, 1), "Updating metadata of vhost \"{0}\" ...", vhosts::update),
    command("delete_vhost", "delete_vhost <vhost>", (1, 1), "Deleting vhost \"{0}\" ...", vhosts::delete),
    command("list_vhosts", "list_vhosts [<column> ...]", (0, ANY), "Listing vhosts ...", vhosts::list),
    command("set_vhost_limits", "set_vhost_limits [-p <vhost>] <definition>", (1, 1), "Setting vhost limits to \"{0}\" for vhost \"{p}\" ...", vhosts::set_limits),
    command("clear_vhost_limits", "clear_vhost_limits [-p <vhost>]", (0, 0), "Clearing vhost \"{p}\" limits ...", vhosts::clear_limits),
    command("list_vhost_limits", "list_vhost_limits [-p <vhost>] [--global]", (0, 0), "Listing limits for vhost \"{p}\" ...", vhosts::list_limits),
    command("trace_on", "trace_on [-p <vhost>]", (0, 0), "Starting tracing for vhost \"{p}\" ...", vhosts::trace_on),
    command("trace_off", "trace_off [-p <vhost>]", (0, 0), "Stopping tracing for vhost \"{p}\" ...", vhosts::trace_off),
    command("set_policy", "set_policy [-p <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", (3, 3), "Setting policy \"{0}\" for pattern \"{1}\" to \"{2}\" for vhost \"{p}\" ...", policies::set),
    command("clear_policy", "clear_policy [-p <vhost>] <name>", (1, 1), "Clearing policy \"{0}\" on vhost \"{p}\" ...", policies::clear),
    command("list_policies", "list_policies [-p <vhost>]", (0, 0), "Listing policies for vhost \"{p}\" ...", policies::list),
    command("set_operator_policy", "set_operator_policy [-p <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>", (3, 3), "Setting operator policy override \"{0}\" for pattern \"{1}\" to \"{2}\" for vhost \"{p}\" ...", policies::set_operator),
    command("clear_operator_policy", "clear_operator_policy [-p <vhost>] <name>", (1, 1), "Clearing operator policy \"{0}\" on vhost \"{p}\" ...", policies::clear_operator),
    command("list_operator_policies", "list_operator_policies [-p <vhost>]", (0, 0), "Listing operator policy overrides for vhost \"{p}\" ...", policies::list_operator),
    command("set_parameter", "set_parameter [-p <vhost>] <component_name> <name> <value>", (3, 3), "Setting runtime parameter \"{1}\" for component \"{0}\" to \"{2}\" in vhost \"{p}\" ...", policies::set_parameter),
    command("clear_parameter", "clear_parameter [-p <vhost>] <component_name> <name>", (2, 2), "Clearing runtime parameter \"{1}\" for component \"{0}\" on vhost \"{p}\" ...", policies::clear_parameter),
    command("list_parameters", "list_parameters [-p <vhost>]", (0, 0), "Listing runtime parameters for vhost \"{p}\" ...", policies::list_parameters),
    command("set_global_parameter", "set_global_parameter <name> <value>", (2, 2), "Setting global runtime parameter \"{0}\" to \"{1}\" ...", policies::set_global),
    command("clear_global_parameter", "clear_global_parameter <name>", (1, 1), "Clearing global runtime parameter \"{0}\" ...", policies::clear_global),
    command("list_global_parameters", "list_global_parameters", (0, 0), "Listing global runtime parameters ...", policies::list_globals),
    command("list_queues", "list_queues [-p <vhost>] [--online] [--offline] [--local] [<column> ...]", (0, ANY), "Listing queues for vhost {p} ...", listing::queues),
    command("list_exchanges", "list_exchanges [-p <vhost>] [<column> ...]", (0, ANY), "Listing exchanges for vhost {p} ...", listing::exchanges),
    command("list_bindings", "list_bindings [-p <vhost>] [<column> ...]", (0, ANY), "Listing bindings for vhost {p} ...", listing::bindings),
    command("list_connections", "list_connections [<column> ...]", (0, ANY), "Listing connections ...", listing::connections),
    command("list_channels", "list_channels [<column> ...]", (0, ANY), "Listing channels ...", listing::channels),
    command("list_consumers", "list_consumers [-p <vhost>] [<column> ...]", (0, ANY), "Listing consumers in vhost {p} ...", listing::consumers),
    command("delete_queue", "delete_queue [-p <vhost>] <queue_name> [--if-empty] [--if-unused]", (1, 1), "Deleting queue '{0}' on vhost '{p}' ...", listing::delete_queue),
    command("add_super_stream", "add_super_stream [-p <vhost>] <name> [--partitions <partitions>] [--max-age <max-age>] [--max-length-bytes <max-length-bytes>] [--stream-max-segment-size-bytes <bytes>]", (1, 1), "Adding a super stream {0} ...", listing::add_super_stream),
    command("delete_super_stream", "delete_super_stream [-p <vhost>] <name>", (1, 1), "Deleting super stream {0} ...", listing::delete_super_stream),
    command("purge_queue", "purge_queue [-p <vhost>] <queue_name>", (1, 1), "Purging queue '{0}' in vhost '{p}' ...", listing::purge_queue),
    command("close_connection", "close_connection <connectionpid> <explanation>", (2, 2), "Closing connection {0}, reason: {1} ...", listing::close_connection),
    command("close_all_connections", "close_all_connections [-p <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>", (1, 1), "Closing connections, reason: {0} ...", listing::close_all_connections),
    command("close_all_user_connections", "close_all_user_connections <username> <explanation>", (2, 2), "Closing connections of user \"{0}\", reason: {1} ...", listing::close_all_user_connections),
    command("set_vm_memory_high_watermark", "set_vm_memory_high_watermark <fraction> | absolute <value>", (1, 2), "Setting memory threshold ...", node::set_memory_watermark),
    command("set_disk_free_limit", "set_disk_free_limit <disk_limit> | mem_relative <fraction>", (1, 2), "Setting disk free limit to {0..} ...", node::set_disk_free_limit),
    command("status", "status", (0, 0), "Status of node {n} ...", node::status),
    command("ping", "ping", (0, 0), "Will ping {n}. This only checks if the OS process is running and registered with epmd.", node::ping),
    command("await_startup", "await_startup", (0, 0), "", node::await_startup),
    command("await_online_nodes", "await_online_nodes <count>", (1, 1), "Will wait for {0} nodes to come online", node::await_startup),
    command("wait", "wait <pidfile>", (0, 1), "Waiting for the node to be ready", node::await_startup),
    command("cluster_status", "cluster_status", (0, 0), "Cluster status of node {n} ...", node::cluster_status),
    command("set_cluster_name", "set_cluster_name <name>", (1, 1), "Setting cluster name to {0} ...", node::set_cluster_name),
    command("export_definitions", "export_definitions <file> | -", (1, 1), "Exporting definitions in JSON to a file at \"{0}\" ...", node::export_definitions),
    command("import_definitions", "import_definitions [<file>]", (0, 1), "Importing definitions in JSON from a file at \"{0}\" ...", node::import_definitions),
    command("environment", "environment", (0, 0), "", node::no_erlang),
    command("eval", "eval <expression>", (0, ANY), "", node::no_erlang),
];

/// What the command says first, with its arguments in it.
#[must_use]
pub(crate) fn banner(command: &Command, context: &Context<'_>) -> Option<String> {
    if command.banner.is_empty() || context.arguments.first().is_some_and(|a| a == "-") {
        return None;
    }
    let mut text = command
        .banner
        .replace("{1..}", &context.arguments.get(1..).unwrap_or_default().join(", "))
        .replace("{0..}", &context.arguments.join(" "));
    for at in 0..3 {
        text = text.replace(&format!("{{{at}}}"), context.argument(at));
    }
    Some(text.replace("{p}", context.vhost()).replace("{n}", &context.options.node))
}

/// All commands.
#[must_use]
pub(crate) fn usage() -> String {
    let mut text =
        "Usage\n\nrabbitmqctl [--node <node>] [--quiet] [--silent] <command> [<command options>]\n\n\
                    Available commands:\n\n"
            .to_owned();
    COMMANDS.iter().for_each(|command| text.push_str(&format!("   {}\n", command.usage)));
    text
}

/// What there is to say of a command that is none.
#[must_use]
pub(crate) fn unknown(name: &str) -> String {
    let nearest = COMMANDS.iter().map(|c| (distance(name, c.name), c.name)).min();
    let hint = match nearest {
        Some((distance, nearest)) if distance <= name.len() / 3 + 1 => format!("Did you mean '{nearest}'?\n"),
        Some(_) | None => String::new(),
    };
    format!("\nCommand '{name}' not found.\n{hint}\n{}", usage())
}

/// How many letters must change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.bytes().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            next.push((at(&row, j) + usize::from(x != y)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
