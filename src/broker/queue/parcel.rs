//! Deliveries on their way to outlets: handed over in parcels, one lock and one wake-up each.

use std::sync::Arc;

use super::{ConsumerId, Entry};
use crate::broker::outlet::{Event, OUTLET_BYTES_MAX, Outlet};

/// Above this a parcel takes room for all that is ready at once, up to so many.
const FEW: usize = 16;
const ROOM_MAX: usize = 1024;

/// Deliveries to one outlet after the other.
#[derive(Default)]
pub(super) struct Parcel {
    /// Messages that may be delivered.
    ready: usize,
    outlet: Option<Arc<Outlet>>,
    events: Vec<Event>,
    bytes: usize,
    returned: Vec<(ConsumerId, Entry)>,
}

impl Parcel {
    pub(super) fn of(ready: usize) -> Self {
        Self { ready, ..Self::default() }
    }

    #[inline]
    pub(super) fn full(&self, outlet: &Arc<Outlet>) -> bool {
        let same = self.outlet.as_ref().is_some_and(|o| Arc::ptr_eq(o, outlet));
        outlet.full() || (same && self.bytes >= OUTLET_BYTES_MAX)
    }

    #[inline]
    pub(super) fn put(&mut self, outlet: &Arc<Outlet>, channel: u16, consumer: ConsumerId, entry: Entry) {
        if !self.outlet.as_ref().is_some_and(|o| Arc::ptr_eq(o, outlet)) {
            self.send();
            self.outlet = Some(outlet.clone());
        }
        self.bytes += entry.message.held_bytes();
        if self.events.len() == self.events.capacity() && self.events.len() >= FEW {
            self.events.reserve(self.ready.min(ROOM_MAX));
        }
        self.events.push(Event::Deliver { channel, consumer, entry });
    }

    fn send(&mut self) {
        let Some(outlet) = self.outlet.take() else { return };
        let bytes = std::mem::take(&mut self.bytes);
        if !outlet.deliver(&mut self.events, bytes) {
            for event in self.events.drain(..) {
                if let Event::Deliver { consumer, entry, .. } = event {
                    self.returned.push((consumer, entry));
                }
            }
        }
    }

    /// Sends what is left; returns what could not be delivered.
    pub(super) fn post(mut self) -> Vec<(ConsumerId, Entry)> {
        self.send();
        self.returned
    }
}
