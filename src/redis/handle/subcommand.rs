//! Commands that are families of their own (`CLIENT`, `XGROUP`): a table of subcommands for each, and what follows from it.

use crate::redis::{
    call::Call,
    command::{self, Handler},
    fault::Fault,
};

/// One of a command's subcommands: its name; its arity, as in the table of commands, counted with the command's name; its
/// arguments and its purpose, for people; what does it.
pub(super) struct Subcommand(
    pub(super) &'static str,
    pub(super) i32,
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Handler,
);

/// Does what the first argument names.
///
/// # Errors
/// There is no such subcommand, it takes not so many words, or what it refuses itself.
pub(super) fn run(
    call: &mut Call<'_, '_>,
    command: &'static str,
    subcommands: &[Subcommand],
) -> Result<(), Fault> {
    let asked = call.argument(0);
    let words = call.arguments.len() + 1;
    let checked = |arity| match command::takes(arity, words) {
        true => Ok(()),
        false => Err(Fault::arity_of(command, asked)),
    };
    if asked.eq_ignore_ascii_case(b"help") {
        checked(2)?;
        help(call, command, subcommands);
        return Ok(());
    }
    let named = |Subcommand(name, ..): &&Subcommand| asked.eq_ignore_ascii_case(name.as_bytes());
    let Some(Subcommand(_, arity, _, _, run)) = subcommands.iter().find(named) else {
        return Err(Fault::UnknownSubcommand { command, name: asked.to_vec() });
    };
    checked(*arity)?;
    run(call)
}

/// In the shape of Redis' own: a heading, and two lines for each.
fn help(call: &mut Call<'_, '_>, command: &str, subcommands: &[Subcommand]) {
    call.reply.array(2 * subcommands.len() + 3);
    let command = command.to_ascii_uppercase();
    call.reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for Subcommand(name, _, usage, purpose, _) in subcommands {
        call.reply.simple(format!("{} {usage}", name.to_ascii_uppercase()).trim_end());
        call.reply.simple(&format!("    {purpose}"));
    }
    call.reply.simple("HELP");
    call.reply.simple("    This text.");
}
