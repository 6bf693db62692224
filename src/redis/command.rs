//! THE table of commands: name, handler, arity, flags, keys, group. What `COMMAND` answers, what is unknown, and how many
//! arguments are wrong all come from it.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    call::Call,
    fault::Fault,
    handle::{
        client, config, connection, generic, hash, inspect, list, pubsub, script, server, set, sorted_set,
        stream, stream_group, stream_info, string, transaction,
    },
    wire::number::integer,
};

/// A command.
#[derive(Debug)]
pub struct Command {
    pub name: &'static str,
    pub handler: Handler,
    /// How many words it has with its name; when negative, at least so many.
    pub arity: i32,
    pub flags: u32,
    pub keys: Keys,
    pub group: Group,
}

/// What does it.
pub type Handler = fn(&mut Call<'_, '_>) -> Result<(), Fault>;

/// Where a command's keys are among its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    None,
    /// From the first to the last (negative: counted from the end), each so many words behind the other.
    Range(i32, i32, i32),
    /// As many as the word at this place says, behind it.
    Counted(usize),
    /// The first half of what follows the word `STREAMS`.
    Streams,
}

/// Families of commands, as ACL categories name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Connection,
    Hash,
    Keyspace,
    List,
    PubSub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transaction,
}

impl Group {
    fn category(self) -> Option<&'static str> {
        match self {
            Self::Connection => Some("@connection"),
            Self::Keyspace => Some("@keyspace"),
            Self::Hash => Some("@hash"),
            Self::List => Some("@list"),
            Self::PubSub => Some("@pubsub"),
            Self::Scripting => Some("@scripting"),
            Self::Set => Some("@set"),
            Self::SortedSet => Some("@sortedset"),
            Self::Stream => Some("@stream"),
            Self::Server => None,
            Self::String => Some("@string"),
            Self::Transaction => Some("@transaction"),
        }
    }
}

macro_rules! flags {
    ($($flag:ident $word:literal $bit:literal;)*) => {
        $(pub const $flag: u32 = 1 << $bit;)*
        /// Flags in Redis' order, with Redis' words.
        const FLAGS: &[(u32, &str)] = &[$(($flag, $word)),*];
    };
}

flags! {
    WRITE "write" 0;
    READONLY "readonly" 1;
    DENYOOM "denyoom" 2;
    PUBSUB "pubsub" 3;
    NOSCRIPT "noscript" 4;
    BLOCKING "blocking" 5;
    LOADING "loading" 6;
    STALE "stale" 7;
    SKIP_MONITOR "skip_monitor" 8;
    SKIP_SLOWLOG "skip_slowlog" 9;
    FAST "fast" 10;
    NO_AUTH "no_auth" 11;
    NO_MANDATORY_KEYS "no_mandatory_keys" 12;
    ALLOW_BUSY "allow_busy" 13;
    MOVABLE_KEYS "movablekeys" 14;
}

/// Lists keys and removes many of them: dangerous, Redis says.
const DANGEROUS: &[&str] = &["flushall", "flushdb", "info", "keys"];

macro_rules! commands {
    ($($name:literal $family:ident::$handler:ident $arity:literal [$($flag:ident)*] $keys:expr, $group:ident;)*) => {
        /// Every command of this version.
        pub static COMMANDS: &[Command] = &[$(Command {
            name: $name,
            handler: $family::$handler,
            arity: $arity,
            flags: 0 $(| $flag)*,
            keys: $keys,
            group: Group::$group,
        }),*];
    };
}

const ONE: Keys = Keys::Range(1, 1, 1);
const TWO: Keys = Keys::Range(1, 2, 1);
const ALL: Keys = Keys::Range(1, -1, 1);
const ALL_BUT_LAST: Keys = Keys::Range(1, -2, 1);
const NONE: Keys = Keys::None;

commands! {
    "auth" connection::auth -2 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] NONE, Connection;
    "client" client::client -2 [] NONE, Server;
    "config" config::config -2 [] NONE, Server;
    "command" server::command -1 [LOADING STALE] NONE, Connection;
    "echo" connection::echo 2 [LOADING STALE FAST] NONE, Connection;
    "hello" connection::hello -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] NONE, Connection;
    "info" server::info -1 [LOADING STALE] NONE, Server;
    "memory" inspect::memory -2 [] Keys::Range(2, 2, 1), Server;
    "ping" connection::ping -1 [FAST] NONE, Connection;
    "quit" connection::quit -1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] NONE, Connection;
    "reset" connection::reset 1 [NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY] NONE, Connection;
    "role" server::role 1 [NOSCRIPT LOADING STALE FAST] NONE, Server;
    "select" connection::select 2 [LOADING STALE FAST] NONE, Connection;
    "time" server::time 1 [LOADING STALE FAST] NONE, Server;

    "blmove" list::blmove 6 [WRITE DENYOOM NOSCRIPT BLOCKING] TWO, List;
    "blmpop" list::blmpop -5 [WRITE BLOCKING MOVABLE_KEYS] Keys::Counted(2), List;
    "blpop" list::blpop -3 [WRITE NOSCRIPT BLOCKING] ALL_BUT_LAST, List;
    "brpop" list::brpop -3 [WRITE NOSCRIPT BLOCKING] ALL_BUT_LAST, List;
    "brpoplpush" list::brpoplpush 4 [WRITE DENYOOM NOSCRIPT BLOCKING] TWO, List;
    "lindex" list::lindex 3 [READONLY] ONE, List;
    "linsert" list::linsert 5 [WRITE DENYOOM] ONE, List;
    "llen" list::llen 2 [READONLY FAST] ONE, List;
    "lmove" list::lmove 5 [WRITE DENYOOM] TWO, List;
    "lmpop" list::lmpop -4 [WRITE MOVABLE_KEYS] Keys::Counted(1), List;
    "lpop" list::lpop -2 [WRITE FAST] ONE, List;
    "lpos" list::lpos -3 [READONLY] ONE, List;
    "lpush" list::lpush -3 [WRITE DENYOOM FAST] ONE, List;
    "lpushx" list::lpushx -3 [WRITE DENYOOM FAST] ONE, List;
    "lrange" list::lrange 4 [READONLY] ONE, List;
    "lrem" list::lrem 4 [WRITE] ONE, List;
    "lset" list::lset 4 [WRITE DENYOOM] ONE, List;
    "ltrim" list::ltrim 4 [WRITE] ONE, List;
    "rpop" list::rpop -2 [WRITE FAST] ONE, List;
    "rpoplpush" list::rpoplpush 3 [WRITE DENYOOM] TWO, List;
    "rpush" list::rpush -3 [WRITE DENYOOM FAST] ONE, List;
    "rpushx" list::rpushx -3 [WRITE DENYOOM FAST] ONE, List;

    "dbsize" generic::dbsize 1 [READONLY FAST] NONE, Keyspace;
    "del" generic::del -2 [WRITE] ALL, Keyspace;
    "exists" generic::exists -2 [READONLY FAST] ALL, Keyspace;
    "expire" generic::expire -3 [WRITE FAST] ONE, Keyspace;
    "expireat" generic::expireat -3 [WRITE FAST] ONE, Keyspace;
    "expiretime" generic::expiretime 2 [READONLY FAST] ONE, Keyspace;
    "flushall" generic::flushall -1 [WRITE] NONE, Keyspace;
    "flushdb" generic::flushdb -1 [WRITE] NONE, Keyspace;
    "keys" generic::keys 2 [READONLY] NONE, Keyspace;
    "move" generic::move_key 3 [WRITE FAST] ONE, Keyspace;
    "object" inspect::object -2 [] Keys::Range(2, 2, 1), Keyspace;
    "persist" generic::persist 2 [WRITE FAST] ONE, Keyspace;
    "pexpire" generic::pexpire -3 [WRITE FAST] ONE, Keyspace;
    "pexpireat" generic::pexpireat -3 [WRITE FAST] ONE, Keyspace;
    "pexpiretime" generic::pexpiretime 2 [READONLY FAST] ONE, Keyspace;
    "pttl" generic::pttl 2 [READONLY FAST] ONE, Keyspace;
    "randomkey" generic::randomkey 1 [READONLY] NONE, Keyspace;
    "rename" generic::rename 3 [WRITE] TWO, Keyspace;
    "renamenx" generic::renamenx 3 [WRITE FAST] TWO, Keyspace;
    "scan" generic::scan -2 [READONLY] NONE, Keyspace;
    "touch" generic::touch -2 [READONLY FAST] ALL, Keyspace;
    "ttl" generic::ttl 2 [READONLY FAST] ONE, Keyspace;
    "type" generic::type_of 2 [READONLY FAST] ONE, Keyspace;
    "unlink" generic::unlink -2 [WRITE FAST] ALL, Keyspace;

    "append" string::append 3 [WRITE DENYOOM FAST] ONE, String;
    "decr" string::decr 2 [WRITE DENYOOM FAST] ONE, String;
    "decrby" string::decrby 3 [WRITE DENYOOM FAST] ONE, String;
    "get" string::get 2 [READONLY FAST] ONE, String;
    "getdel" string::getdel 2 [WRITE FAST] ONE, String;
    "getex" string::getex -2 [WRITE FAST] ONE, String;
    "getrange" string::getrange 4 [READONLY] ONE, String;
    "getset" string::getset 3 [WRITE DENYOOM FAST] ONE, String;
    "incr" string::incr 2 [WRITE DENYOOM FAST] ONE, String;
    "incrby" string::incrby 3 [WRITE DENYOOM FAST] ONE, String;
    "incrbyfloat" string::incrbyfloat 3 [WRITE DENYOOM FAST] ONE, String;
    "mget" string::mget -2 [READONLY FAST] ALL, String;
    "mset" string::mset -3 [WRITE DENYOOM] Keys::Range(1, -1, 2), String;
    "msetnx" string::msetnx -3 [WRITE DENYOOM] Keys::Range(1, -1, 2), String;
    "psetex" string::psetex 4 [WRITE DENYOOM] ONE, String;
    "set" string::set -3 [WRITE DENYOOM] ONE, String;
    "setex" string::setex 4 [WRITE DENYOOM] ONE, String;
    "setnx" string::setnx 3 [WRITE DENYOOM FAST] ONE, String;
    "setrange" string::setrange 4 [WRITE DENYOOM] ONE, String;
    "strlen" string::strlen 2 [READONLY FAST] ONE, String;

    "hdel" hash::hdel -3 [WRITE FAST] ONE, Hash;
    "hexists" hash::hexists 3 [READONLY FAST] ONE, Hash;
    "hget" hash::hget 3 [READONLY FAST] ONE, Hash;
    "hgetall" hash::hgetall 2 [READONLY] ONE, Hash;
    "hincrby" hash::hincrby 4 [WRITE DENYOOM FAST] ONE, Hash;
    "hincrbyfloat" hash::hincrbyfloat 4 [WRITE DENYOOM FAST] ONE, Hash;
    "hkeys" hash::hkeys 2 [READONLY] ONE, Hash;
    "hlen" hash::hlen 2 [READONLY FAST] ONE, Hash;
    "hmget" hash::hmget -3 [READONLY FAST] ONE, Hash;
    "hmset" hash::hmset -4 [WRITE DENYOOM FAST] ONE, Hash;
    "hscan" hash::hscan -3 [READONLY] ONE, Hash;
    "hset" hash::hset -4 [WRITE DENYOOM FAST] ONE, Hash;
    "hsetnx" hash::hsetnx 4 [WRITE DENYOOM FAST] ONE, Hash;
    "hstrlen" hash::hstrlen 3 [READONLY FAST] ONE, Hash;
    "hvals" hash::hvals 2 [READONLY] ONE, Hash;

    "sadd" set::sadd -3 [WRITE DENYOOM FAST] ONE, Set;
    "scard" set::scard 2 [READONLY FAST] ONE, Set;
    "sismember" set::sismember 3 [READONLY FAST] ONE, Set;
    "smembers" set::smembers 2 [READONLY] ONE, Set;
    "smismember" set::smismember -3 [READONLY FAST] ONE, Set;
    "smove" set::smove 4 [WRITE FAST] TWO, Set;
    "spop" set::spop -2 [WRITE FAST] ONE, Set;
    "srandmember" set::srandmember -2 [READONLY] ONE, Set;
    "srem" set::srem -3 [WRITE FAST] ONE, Set;
    "sscan" set::sscan -3 [READONLY] ONE, Set;

    "bzpopmax" sorted_set::bzpopmax -3 [WRITE NOSCRIPT BLOCKING FAST] ALL_BUT_LAST, SortedSet;
    "bzpopmin" sorted_set::bzpopmin -3 [WRITE NOSCRIPT BLOCKING FAST] ALL_BUT_LAST, SortedSet;
    "zadd" sorted_set::zadd -4 [WRITE DENYOOM FAST] ONE, SortedSet;
    "zcard" sorted_set::zcard 2 [READONLY FAST] ONE, SortedSet;
    "zcount" sorted_set::zcount 4 [READONLY FAST] ONE, SortedSet;
    "zincrby" sorted_set::zincrby 4 [WRITE DENYOOM FAST] ONE, SortedSet;
    "zmscore" sorted_set::zmscore -3 [READONLY FAST] ONE, SortedSet;
    "zpopmax" sorted_set::zpopmax -2 [WRITE FAST] ONE, SortedSet;
    "zpopmin" sorted_set::zpopmin -2 [WRITE FAST] ONE, SortedSet;
    "zrange" sorted_set::zrange -4 [READONLY] ONE, SortedSet;
    "zrangebyscore" sorted_set::zrangebyscore -4 [READONLY] ONE, SortedSet;
    "zrank" sorted_set::zrank 3 [READONLY FAST] ONE, SortedSet;
    "zrem" sorted_set::zrem -3 [WRITE FAST] ONE, SortedSet;
    "zremrangebyrank" sorted_set::zremrangebyrank 4 [WRITE] ONE, SortedSet;
    "zremrangebyscore" sorted_set::zremrangebyscore 4 [WRITE] ONE, SortedSet;
    "zrevrange" sorted_set::zrevrange -4 [READONLY] ONE, SortedSet;
    "zrevrangebyscore" sorted_set::zrevrangebyscore -4 [READONLY] ONE, SortedSet;
    "zrevrank" sorted_set::zrevrank 3 [READONLY FAST] ONE, SortedSet;
    "zscan" sorted_set::zscan -3 [READONLY] ONE, SortedSet;
    "zscore" sorted_set::zscore 3 [READONLY FAST] ONE, SortedSet;

    "xack" stream_group::xack -4 [WRITE FAST] ONE, Stream;
    "xadd" stream::xadd -5 [WRITE DENYOOM FAST] ONE, Stream;
    "xautoclaim" stream_group::xautoclaim -6 [WRITE FAST] ONE, Stream;
    "xclaim" stream_group::xclaim -6 [WRITE FAST] ONE, Stream;
    "xdel" stream::xdel -3 [WRITE FAST] ONE, Stream;
    "xgroup" stream_group::xgroup -2 [WRITE DENYOOM] Keys::Range(2, 2, 1), Stream;
    "xinfo" stream_info::xinfo -2 [READONLY] Keys::Range(2, 2, 1), Stream;
    "xlen" stream::xlen 2 [READONLY FAST] ONE, Stream;
    "xpending" stream_group::xpending -3 [READONLY] ONE, Stream;
    "xrange" stream::xrange -4 [READONLY] ONE, Stream;
    "xread" stream::xread -4 [READONLY BLOCKING MOVABLE_KEYS] Keys::Streams, Stream;
    "xreadgroup" stream::xreadgroup -7 [WRITE BLOCKING MOVABLE_KEYS] Keys::Streams, Stream;
    "xrevrange" stream::xrevrange -4 [READONLY] ONE, Stream;
    "xtrim" stream::xtrim -4 [WRITE] ONE, Stream;

    "psubscribe" pubsub::psubscribe -2 [PUBSUB NOSCRIPT LOADING STALE] NONE, PubSub;
    "publish" pubsub::publish 3 [PUBSUB LOADING STALE FAST] NONE, PubSub;
    "pubsub" pubsub::pubsub -2 [] NONE, PubSub;
    "punsubscribe" pubsub::punsubscribe -1 [PUBSUB NOSCRIPT LOADING STALE] NONE, PubSub;
    "subscribe" pubsub::subscribe -2 [PUBSUB NOSCRIPT LOADING STALE] NONE, PubSub;
    "unsubscribe" pubsub::unsubscribe -1 [PUBSUB NOSCRIPT LOADING STALE] NONE, PubSub;

    "eval" script::eval -3 [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLE_KEYS] Keys::Counted(2), Scripting;
    "evalsha" script::evalsha -3 [NOSCRIPT STALE SKIP_MONITOR NO_MANDATORY_KEYS MOVABLE_KEYS] Keys::Counted(2), Scripting;
    "script" script::script -2 [] NONE, Scripting;

    "discard" transaction::discard 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] NONE, Transaction;
    "exec" transaction::exec 1 [NOSCRIPT LOADING STALE SKIP_SLOWLOG] NONE, Transaction;
    "multi" transaction::multi 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] NONE, Transaction;
    "unwatch" transaction::unwatch 1 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] NONE, Transaction;
    "watch" transaction::watch -2 [NOSCRIPT LOADING STALE FAST ALLOW_BUSY] ALL, Transaction;
}

/// Commands with their numbers, which are their places in the table.
static BY_NAME: LazyLock<HashMap<&[u8], (usize, &Command)>> =
    LazyLock::new(|| COMMANDS.iter().enumerate().map(|at| (at.1.name.as_bytes(), at)).collect());

/// The command of that name, in whatever case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    find_numbered(name).map(|(_, command)| command)
}

/// As [`find`], with its number.
#[must_use]
pub fn find_numbered(name: &[u8]) -> Option<(usize, &'static Command)> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    BY_NAME.get(&*lower).copied()
}

/// Whether an arity is that of so many words.
#[must_use]
pub fn takes(arity: i32, words: usize) -> bool {
    let words = i32::try_from(words).unwrap_or(i32::MAX);
    if arity >= 0 { words == arity } else { words >= -arity }
}

/// No command has a longer name.
const NAME_BYTES_MAX: usize = 24;

impl Command {
    #[must_use]
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether a request of so many words, its name with them, may be one.
    #[must_use]
    pub fn takes(&self, words: usize) -> bool {
        takes(self.arity, words)
    }

    /// Whether it is done at once between `MULTI` and `EXEC`.
    #[must_use]
    pub fn runs_in_transaction(&self) -> bool {
        matches!(self.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
    }

    /// Whether a client that listens to channels may ask for it.
    #[must_use]
    pub fn is_for_listeners(&self) -> bool {
        matches!(self.name, "ping" | "quit" | "reset")
    }

    /// The keys among the words of a request.
    pub fn keys_of<'a>(&self, request: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (first, count, step) = self.key_places(request);
        let behind = request.get(first..).unwrap_or_default();
        behind.iter().step_by(step).take(count).copied()
    }

    /// The first key, how many there are, and how far apart.
    fn key_places(&self, request: &[&[u8]]) -> (usize, usize, usize) {
        match self.keys {
            Keys::None => (0, 0, 1),
            Keys::Range(first, last, step) => {
                let words = i32::try_from(request.len()).unwrap_or(i32::MAX);
                let last = if last < 0 { words + last } else { last };
                let count = if last < first { 0 } else { (last - first) / step + 1 };
                let whole = |n: i32| usize::try_from(n).unwrap_or(0);
                (whole(first), whole(count), whole(step).max(1))
            }
            Keys::Streams => {
                let word = request.iter().position(|word| word.eq_ignore_ascii_case(b"streams"));
                let first = word.map_or(request.len(), |at| at + 1);
                (first, request.len().saturating_sub(first) / 2, 1)
            }
            Keys::Counted(at) => {
                let count = request.get(at).and_then(|word| integer(word));
                (at + 1, count.and_then(|n| usize::try_from(n).ok()).unwrap_or(0), 1)
            }
        }
    }

    /// The words of its flags, in Redis' order.
    pub fn flag_words(&self) -> impl Iterator<Item = &'static str> + '_ {
        FLAGS.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, word)| *word)
    }

    /// First, last and step, as `COMMAND` gives them: none for keys that move.
    #[must_use]
    pub fn key_range(&self) -> (i32, i32, i32) {
        match self.keys {
            Keys::Range(first, last, step) => (first, last, step),
            Keys::None | Keys::Counted(_) | Keys::Streams => (0, 0, 0),
        }
    }

    /// Its ACL categories, in Redis' order.
    #[must_use]
    pub fn categories(&self) -> Vec<&'static str> {
        let keyspace = (self.group == Group::Keyspace).then_some("@keyspace");
        let of_group = self.group.category().filter(|_| keyspace.is_none());
        let (early, late) = match self.group {
            Group::Connection | Group::Scripting | Group::Transaction => (None, of_group),
            Group::Hash
            | Group::Keyspace
            | Group::List
            | Group::PubSub
            | Group::Server
            | Group::Set
            | Group::SortedSet
            | Group::Stream
            | Group::String => (of_group, None),
        };
        [
            keyspace,
            self.has(READONLY).then_some("@read"),
            self.has(WRITE).then_some("@write"),
            early,
            Some(if self.has(FAST) { "@fast" } else { "@slow" }),
            self.has(BLOCKING).then_some("@blocking"),
            DANGEROUS.contains(&self.name).then_some("@dangerous"),
            late,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_no_two_are_the_same() {
        assert_eq!(BY_NAME.len(), COMMANDS.len());
        assert!(COMMANDS.iter().all(|command| find(command.name.to_uppercase().as_bytes()).is_some()));
        assert!(find(b"nothing").is_none() && find(&[b'x'; 1000]).is_none() && find(b"").is_none());
    }

    #[test]
    fn keys_are_where_the_table_says() {
        for (request, expected) in [
            ("lpush a b c", "a"),
            ("blpop a b 0", "a b"),
            ("mset a 1 b 2", "a b"),
            ("del a b c", "a b c"),
            ("lmpop 2 a b left", "a b"),
            ("blmpop 0 1 a left", "a"),
            ("lmpop 99999999999 a", "a"),
            ("xread count 1 streams a b 0 0", "a b"),
            ("eval x 2 a b c", "a b"),
            ("xgroup create a g 0", "a"),
            ("ping", ""),
        ] {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let keys: Vec<&[u8]> = find(words[0]).unwrap().keys_of(&words).collect();
            assert_eq!(keys.join(&b' '), expected.as_bytes(), "{request}");
        }
    }
}
