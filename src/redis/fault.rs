//! Why a command is refused, in Redis' own words (7.0): clients match on them.

use std::{borrow::Cow, fmt};

use crate::broker::keyspace::state::WrongType;

/// A refusal. The first word of its text is the code that clients tell errors apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `ERR`, and a text that only one place says.
    Err(Cow<'static, str>),
    BusyGroup,
    ExecAbort,
    /// `EXEC` itself is, and with it everything that was held back.
    ExecRefused(Box<Fault>),
    /// To no number, or to none that is finite.
    IncrementedToNothing,
    InvalidExpire(&'static str),
    HelloWithoutAuth,
    NoAuth,
    NoGroup(String),
    NoPermission(Permission),
    NoProtocol,
    NoScript,
    NoSuchKey,
    NotFloat,
    NotInteger,
    OutOfMemory,
    Persistence(String),
    Subscribed(String),
    Syntax,
    UnknownScript(String),
    UnknownCommand {
        name: Vec<u8>,
        arguments: Vec<Vec<u8>>,
    },
    /// The words behind a subcommand are none of its own.
    SubcommandSyntax {
        command: &'static str,
        name: Vec<u8>,
    },
    UnknownSubcommand {
        command: &'static str,
        name: Vec<u8>,
    },
    WrongArity(Cow<'static, str>),
    WrongPass,
    WrongType,
}

/// The codes that errors begin with.
pub const CODES: &[&str] = &[
    "ERR",
    "BUSYGROUP",
    "EXECABORT",
    "MISCONF",
    "NOAUTH",
    "NOGROUP",
    "NOPERM",
    "NOPROTO",
    "NOSCRIPT",
    "OOM",
    "WRONGPASS",
    "WRONGTYPE",
];

/// The place of an error's code among them.
#[must_use]
pub fn code_number(text: &str) -> usize {
    let code = text.split(' ').next().unwrap_or_default();
    CODES.iter().position(|known| *known == code).unwrap_or(0)
}

/// What a user may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Channel,
    Key,
}

impl Fault {
    /// A text of its own, behind `ERR`.
    #[must_use]
    pub const fn err(text: &'static str) -> Self {
        Self::Err(Cow::Borrowed(text))
    }

    /// Too few or too many arguments of a command's subcommand.
    #[must_use]
    pub fn arity_of(command: &str, subcommand: &[u8]) -> Self {
        let name = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        Self::WrongArity(format!("{command}|{name}").into())
    }
}

impl From<WrongType> for Fault {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Err(text) => write!(f, "ERR {text}"),
            Self::BusyGroup => f.write_str("BUSYGROUP Consumer Group name already exists"),
            Self::ExecAbort => f.write_str("EXECABORT Transaction discarded because of previous errors."),
            Self::ExecRefused(why) => {
                let why = why.to_string();
                let why = why.strip_prefix("ERR ").unwrap_or(&why);
                write!(f, "EXECABORT Transaction discarded because of: {why}")
            }
            Self::IncrementedToNothing => f.write_str("ERR increment would produce NaN or Infinity"),
            Self::InvalidExpire(command) => write!(f, "ERR invalid expire time in '{command}' command"),
            Self::HelloWithoutAuth => f.write_str(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ),
            Self::NoAuth => f.write_str("NOAUTH Authentication required."),
            Self::NoGroup(text) => write!(f, "NOGROUP {text}"),
            Self::NoPermission(Permission::Key) => f.write_str(
                "NOPERM this user has no permissions to access one of the keys used as arguments",
            ),
            Self::NoPermission(Permission::Channel) => f.write_str(
                "NOPERM this user has no permissions to access one of the channels used as arguments",
            ),
            Self::NoProtocol => f.write_str("NOPROTO unsupported protocol version"),
            Self::NoScript => f.write_str("NOSCRIPT No matching script. Please use EVAL."),
            Self::NoSuchKey => f.write_str("ERR no such key"),
            Self::NotFloat => f.write_str("ERR value is not a valid float"),
            Self::NotInteger => f.write_str("ERR value is not an integer or out of range"),
            Self::OutOfMemory => f.write_str("OOM command not allowed when used memory > 'maxmemory'."),
            Self::Persistence(reason) => write!(f, "MISCONF Errors writing to the AOF file: {reason}"),
            Self::Subscribed(command) => write!(
                f,
                "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
            ),
            Self::Syntax => f.write_str("ERR syntax error"),
            Self::UnknownCommand { name, arguments } => {
                write!(f, "ERR unknown command '{}', with args beginning with: ", shown(name, NAME_MAX))?;
                let mut room = ARGUMENTS_MAX;
                for argument in arguments {
                    let text = shown(argument, room);
                    write!(f, "'{text}' ")?;
                    room = room.saturating_sub(text.len() + 3);
                    if room == 0 {
                        break;
                    }
                }
                Ok(())
            }
            Self::UnknownScript(sha1) => write!(
                f,
                "ERR this server has no Lua, and knows no script {sha1}: only those of celery, dramatiq, huey, kombu, redis-py's locks and rq"
            ),
            Self::UnknownSubcommand { command, name } => {
                let help = command.to_ascii_uppercase();
                write!(f, "ERR unknown subcommand '{}'. Try {help} HELP.", shown(name, NAME_MAX))
            }
            Self::SubcommandSyntax { command, name } => {
                let help = command.to_ascii_uppercase();
                let name = shown(name, NAME_MAX);
                write!(f, "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {help} HELP.")
            }
            Self::WrongArity(command) => write!(f, "ERR wrong number of arguments for '{command}' command"),
            Self::WrongPass => {
                f.write_str("WRONGPASS invalid username-password pair or user is disabled.")
            }
            Self::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
        }
    }
}

/// What is shown of a name, and of all arguments together.
const NAME_MAX: usize = 128;
const ARGUMENTS_MAX: usize = 128;

/// The beginning of what a peer sent.
fn shown(bytes: &[u8], max: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.get(..max).unwrap_or(bytes))
}
