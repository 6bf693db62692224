//! The channels of one connection, by number.
//!
//! They are looked up for every frame and every delivery, so the hash is one multiplication: 65,535 numbers are nothing
//! that a peer could flood a table with. Boxed, because a channel leaves the table while a method of its is handled.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::channel::Channel;

/// By channel number.
pub type Channels = HashMap<u16, Box<Channel>, BuildHasherDefault<NumberHasher>>;

/// Spreads a number over all bits; odd, so that no two numbers meet.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes a channel number.
#[derive(Debug, Default, Clone, Copy)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.0 = u64::from(number).wrapping_mul(FACTOR);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FACTOR);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn no_two_channel_numbers_have_the_same_hash() {
        let hasher = BuildHasherDefault::<NumberHasher>::default();
        let hashes: HashSet<u64> = (0..=u16::MAX).map(|number| hasher.hash_one(number)).collect();
        assert_eq!(hashes.len(), 65_536);
    }
}
