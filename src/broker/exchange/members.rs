//! The bindings of an exchange that picks one of them: an order that does not depend on when they were made.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use super::{Binding, BindingId, Target};

/// Bindings by their target's name, so that they count the same after a restart.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: BTreeMap<(Arc<str>, BindingId), Target>,
    /// The same as a list, made when it is first asked for after a change.
    listed: OnceLock<Vec<Target>>,
}

impl Members {
    pub(super) fn insert(&mut self, binding: &Binding) {
        self.by_name.insert((binding.target.name().clone(), binding.id()), binding.target.clone());
        self.listed = OnceLock::new();
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.by_name.remove(&(binding.target.name().clone(), binding.id()));
        self.listed = OnceLock::new();
    }

    /// One for each binding.
    pub(super) fn all(&self) -> &[Target] {
        self.listed.get_or_init(|| self.by_name.values().cloned().collect())
    }

    /// One of them by chance.
    pub(super) fn any(&self) -> Option<&Target> {
        let all = self.all();
        let chosen = match all.len() {
            0 => return None,
            1 => 0,
            n => rand::random_range(0..n),
        };
        all.get(chosen)
    }
}
