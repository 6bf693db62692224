//! SUB and XSUB: messages of the exchange whose first part begins with a prefix that the peer subscribes to. (29/PUBSUB.)
//!
//! What is heard is not kept: a subscriber that does not read loses what comes meanwhile.

use std::{collections::BTreeSet, sync::Arc};

use super::{Context, Ended, Handle, publish::exchange};
use crate::{
    broker::{
        exchange::{Exchange, subscribers::DELETED},
        outlet::Event,
        refusal::{Access, Subject},
    },
    zmq::fault::Fault,
};

struct Subscriber {
    exchange: Arc<Exchange>,
    prefixes: BTreeSet<Vec<u8>>,
    prefixes_bytes: usize,
}

/// What the subscriptions of one peer may come to, with what each costs besides.
const PREFIXES_BYTES_MAX: usize = 16 * 1024 * 1024;
const PREFIX_BYTES: usize = 128;

/// A SUB has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    exchange(cx, Access::Read)?;
    let exchange = cx.login.vhost.exchange(&cx.mapping.exchange)?;
    Ok(Box::new(Subscriber { exchange, prefixes: BTreeSet::new(), prefixes_bytes: 0 }))
}

impl Handle for Subscriber {
    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        cx.login.allow(Access::Read, &Subject::exchange(&self.exchange.name))?;
        self.prefixes
            .iter()
            .try_for_each(|prefix| cx.login.allow_topic(Access::Read, &self.exchange.name, prefix))
    }

    /// Before ZMTP 3.1, and from XSUB, a subscription is a message: its first octet says whether it begins or ends. Others
    /// are for a publisher that wants to hear of its subscribers; none does here.
    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault> {
        match parts {
            [[1, prefix @ ..]] => self.on_subscription(cx, prefix, true),
            [[0, prefix @ ..]] => self.on_subscription(cx, prefix, false),
            _ => Ok(()),
        }
    }

    fn on_subscription(&mut self, cx: &mut Context<'_>, prefix: &[u8], on: bool) -> Result<(), Fault> {
        if !on {
            if self.prefixes.remove(prefix) {
                self.prefixes_bytes -= prefix.len() + PREFIX_BYTES;
                self.exchange.cancel(prefix, cx.id);
            }
            return Ok(());
        }
        cx.login.allow_topic(Access::Read, &self.exchange.name, prefix)?;
        if !self.prefixes.insert(prefix.to_vec()) {
            return Ok(());
        }
        self.prefixes_bytes += prefix.len() + PREFIX_BYTES;
        if self.prefixes_bytes > PREFIXES_BYTES_MAX {
            // It will not be told of it: the connection ends.
            return Err(Fault::TooManySubscriptions(PREFIXES_BYTES_MAX));
        }
        self.exchange.subscribe(prefix, cx.id, cx.outlet, cx.door.settings.subscriber_bytes_max);
        // Whoever subscribed before an exchange was deleted is sent away; whoever comes behind that finds it gone.
        let found = cx.login.vhost.find_exchange(&self.exchange.name);
        if found.is_some_and(|found| Arc::ptr_eq(&found, &self.exchange)) {
            Ok(())
        } else {
            Err(Fault::Asked(DELETED.to_owned()))
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) -> Result<(), Fault> {
        if let Event::Told(told) = event {
            let last = told.len().saturating_sub(1);
            told.iter().enumerate().for_each(|(at, part)| cx.line.part(cx.output, part, at < last));
        }
        Ok(())
    }

    fn end(&mut self, ended: &Ended<'_>, _: Vec<Event>) {
        self.prefixes.iter().for_each(|prefix| self.exchange.cancel(prefix, ended.id));
    }
}
