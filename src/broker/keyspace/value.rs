//! What a key can hold: one kind of value each.

use crate::broker::list::List;

use super::text::Text;

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    List,
    String,
}

impl Kind {
    const ALL: [Self; 2] = [Self::List, Self::String];

    /// As `TYPE` says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::String => "string",
        }
    }

    /// As it is written in the store.
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::List => b'l',
            Self::String => b's',
        }
    }

    pub(super) fn of_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }

    /// An empty value.
    pub(super) fn empty(self) -> Value {
        match self {
            Self::List => Value::List(List::default()),
            Self::String => Value::String(Text::default()),
        }
    }
}

/// A value.
#[derive(Debug)]
pub enum Value {
    List(List),
    String(Text),
}

/// The slots of a value's parts.
pub(super) type SlotsUsed<'a> = Box<dyn Iterator<Item = u64> + 'a>;

impl Value {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::String(_) => Kind::String,
        }
    }

    /// Whether it has no parts any more: then its key goes.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::List(list) => list.is_empty(),
            Self::String(_) => false,
        }
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::List(list) => list.bytes(),
            Self::String(text) => text.bytes(),
        }
    }

    pub(super) fn slots(&self) -> SlotsUsed<'_> {
        match self {
            Self::List(list) => Box::new(list.slots()),
            Self::String(text) => Box::new(text.slots()),
        }
    }

    /// A part that recovery found.
    pub(super) fn recover(&mut self, slot: u64, part: &[u8]) {
        match self {
            Self::List(list) => list.recover(slot, part),
            Self::String(text) => text.recover(part),
        }
    }
}

/// A value in its place among the others: what operations on one kind need.
pub trait Held: Default {
    const KIND: Kind;
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
}

macro_rules! held {
    ($($kind:ident $type:ty;)*) => {
        $(impl Held for $type {
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

held! {
    List List;
    String Text;
}
