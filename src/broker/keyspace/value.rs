//! What a key can hold: one kind of value each.

use crate::broker::list::List;

use super::{
    fields::{Hash, Set},
    sorted::Sorted,
    stream::Stream,
    text::Text,
};

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hash,
    List,
    Set,
    Sorted,
    Stream,
    String,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Hash, Self::List, Self::Set, Self::Sorted, Self::Stream, Self::String];

    /// As `TYPE` says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::Sorted => "zset",
            Self::Stream => "stream",
            Self::String => "string",
        }
    }

    /// As it is written in the store.
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Hash => b'h',
            Self::List => b'l',
            Self::Set => b'e',
            Self::Sorted => b'z',
            Self::Stream => b'x',
            Self::String => b's',
        }
    }

    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }

    /// An empty value.
    pub(super) fn empty(self) -> Value {
        match self {
            Self::Hash => Value::Hash(Hash::default()),
            Self::List => Value::List(List::default()),
            Self::Set => Value::Set(Set::default()),
            Self::Sorted => Value::Sorted(Sorted::default()),
            Self::Stream => Value::Stream(Stream::default()),
            Self::String => Value::String(Text::default()),
        }
    }
}

/// A value.
#[derive(Debug)]
pub enum Value {
    Hash(Hash),
    List(List),
    Set(Set),
    Sorted(Sorted),
    Stream(Stream),
    String(Text),
}

/// The slots of a value's parts.
pub(super) type SlotsUsed<'a> = Box<dyn Iterator<Item = u64> + 'a>;

impl Value {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Hash(_) => Kind::Hash,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Sorted(_) => Kind::Sorted,
            Self::Stream(_) => Kind::Stream,
            Self::String(_) => Kind::String,
        }
    }

    /// Whether it has no parts any more: then its key goes.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Hash(hash) => hash.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::Sorted(sorted) => sorted.is_empty(),
            // An empty one is still one.
            Self::Stream(_) | Self::String(_) => false,
        }
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Hash(hash) => hash.bytes(),
            Self::List(list) => list.bytes(),
            Self::Set(set) => set.bytes(),
            Self::Sorted(sorted) => sorted.bytes(),
            Self::Stream(stream) => stream.bytes(),
            Self::String(text) => text.bytes(),
        }
    }

    pub(super) fn slots(&self) -> SlotsUsed<'_> {
        match self {
            Self::Hash(hash) => Box::new(hash.slots()),
            Self::List(list) => Box::new(list.slots()),
            Self::Set(set) => Box::new(set.slots()),
            Self::Sorted(sorted) => Box::new(sorted.slots()),
            Self::Stream(stream) => Box::new(stream.slots()),
            Self::String(text) => Box::new(text.slots()),
        }
    }

    /// A part that recovery found.
    pub(super) fn recover(&mut self, slot: u64, part: &[u8]) {
        match self {
            Self::Hash(hash) => hash.recover(slot, part),
            Self::List(list) => list.recover(slot, part),
            Self::Set(set) => set.recover(slot, part),
            Self::Sorted(sorted) => sorted.recover(slot, part),
            Self::Stream(stream) => stream.recover(slot, part),
            Self::String(text) => text.recover(part),
        }
    }
}

/// One kind of value, in its place among the others: what operations on it need.
pub trait OfKind: Default {
    const KIND: Kind;
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
}

macro_rules! of_kind {
    ($($kind:ident $type:ty;)*) => {
        $(impl OfKind for $type {
            const KIND: Kind = Kind::$kind;

            fn of(value: &Value) -> Option<&Self> {
                if let Value::$kind(held) = value { Some(held) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$kind(held) = value { Some(held) } else { None }
            }
        })*
    };
}

of_kind! {
    Hash Hash;
    List List;
    Set Set;
    Sorted Sorted;
    Stream Stream;
    String Text;
}
