//! What the admin door answers, one file for each subject; [`ROUTES`](super::routes::ROUTES) says which path is whose.

pub mod definitions;

pub(super) mod bindings;
pub(super) mod clients;
pub(super) mod exchanges;
pub(super) mod groups;
pub(super) mod health;
pub(super) mod limits;
pub(super) mod messages;
pub(super) mod node;
pub(super) mod overview;
pub(super) mod parameters;
pub(super) mod permissions;
pub(super) mod policies;
pub(super) mod queues;
pub(super) mod streams;
pub(super) mod super_streams;
pub(super) mod topology;
pub(super) mod users;
pub(super) mod vhosts;
