//! Class 90, tx: publishes and acknowledgements that count together, or not at all.
//!
//! Publishes are checked and routed when they come, as RabbitMQ does, and wait in the channel's publisher; a commit
//! makes one Change of everything (`broker/txn/channel.rs`) and is answered once that is durable. A method that comes on the
//! channel meanwhile closes the connection. (AMQP 0-9-1 §1.9; RabbitMQ's `unexpected command while processing`.)

use std::sync::Arc;

use crate::{
    amqp::{
        channel::{Channel, Feed, Held, How, Mode, Phase, Settlement, Tx},
        fault::Fault,
        session::{Commit, Context},
        wire::tx::{CommitOk, Method, RollbackOk, SelectOk},
    },
    broker::{
        list::queue::ListQueue,
        txn::channel::{Fate, Settled},
    },
};

/// What a transaction may hold back, in bytes: it becomes one Change, which must fit into a segment of the log.
pub const TX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Any tx method.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn handle(cx: &mut Context<'_>, channel: &mut Channel, method: &Method) -> Result<(), Fault> {
    match method {
        Method::Select(_) => select(cx, channel),
        Method::Commit(_) => commit(cx, channel),
        Method::Rollback(_) => {
            if !undo(channel) {
                return Err(Fault::NotTransactional);
            }
            cx.send(channel.number, &RollbackOk {});
            Ok(())
        }
        Method::SelectOk(_) | Method::CommitOk(_) | Method::RollbackOk(_) => Err(Fault::UnimplementedMethod),
    }
}

/// `tx.select`; asking twice changes nothing.
fn select(cx: &mut Context<'_>, channel: &mut Channel) -> Result<(), Fault> {
    match channel.mode {
        Mode::Plain => {
            if let Some(list) = list_of(channel) {
                return Err(super::list::unsupported(cx, "tx.select", &list));
            }
            channel.mode = Mode::Tx(Tx::default());
            channel.publisher.hold_back();
        }
        Mode::Tx(_) => {}
        Mode::Confirm(_) => return Err(Fault::ConfirmToTx),
    }
    cx.send(channel.number, &SelectOk {});
    Ok(())
}

/// A list that the channel consumes, or has something of.
fn list_of(channel: &Channel) -> Option<Arc<ListQueue>> {
    let consumed = channel.consumers.all().into_iter().find_map(|consumer| match consumer.feed {
        Feed::List(list) => Some(list),
        Feed::Queue(_) | Feed::Replies(_) | Feed::Stream(_) => None,
    });
    consumed.or_else(|| {
        channel.unacked.iter().find_map(|(_, held)| match held {
            Held::List { list, .. } => Some(list.clone()),
            Held::Queue { .. } | Held::Stream { .. } => None,
        })
    })
}

fn commit(cx: &mut Context<'_>, channel: &mut Channel) -> Result<(), Fault> {
    let Mode::Tx(tx) = &mut channel.mode else { return Err(Fault::NotTransactional) };
    let Tx { settlements, returns, committing: _ } = std::mem::take(tx);
    cx.output.buffer().extend_from_slice(&returns);
    let settled = grouped(cx, channel, settlements);
    let committed = channel.publisher.commit(cx.now_ms, settled);
    if !committed.refused.rejected.is_empty() {
        // What other queues took stays taken.
        return Err(Fault::PartialTx);
    }
    match (committed.pending, &mut channel.mode) {
        (Some(ticket), Mode::Tx(tx)) => {
            tx.committing = true;
            let (channel, generation) = (channel.number, channel.generation);
            let durable = cx.durable(ticket);
            cx.session.commits.push(Commit { channel, generation, durable });
        }
        (Some(_), Mode::Plain | Mode::Confirm(_)) | (None, _) => cx.send(channel.number, &CommitOk {}),
    }
    Ok(())
}

/// A commit is in the log: it is answered, unless its channel is gone.
pub fn committed(cx: &mut Context<'_>, number: u16, generation: u32) {
    let Some(channel) = cx.session.channels.get_mut(&number) else { return };
    if channel.generation == generation
        && channel.phase == Phase::Open
        && let Mode::Tx(tx) = &mut channel.mode
    {
        tx.committing = false;
        cx.send(number, &CommitOk {});
    }
}

/// The deliveries by queue and consumer, for the core.
fn grouped(cx: &Context<'_>, channel: &Channel, settlements: Vec<Settlement>) -> Vec<Settled> {
    let mut settled = Vec::new();
    for Settlement { deliveries, how } in joined(settlements) {
        let fate = match how {
            How::Acknowledge => {
                cx.session.door.broker.core.meters.acknowledged.add(deliveries.len() as u64);
                Fate::Acknowledged
            }
            How::Drop => Fate::Dropped,
            How::Requeue(how) => Fate::Requeued(how),
        };
        channel.by_queue(deliveries.into_iter().map(|(_, held)| held), |queue, consumer, entries| {
            let entries = if how == How::Drop { queue.read_bodies(entries) } else { entries };
            settled.push(Settled { queue: queue.clone(), consumer, entries, fate });
        });
    }
    settled
}

/// Settlements of one kind that follow one another are one. What goes back, or dies, goes in the order in which it was
/// delivered, as RabbitMQ has it (rabbit_channel: `tx.commit`).
fn joined(settlements: Vec<Settlement>) -> Vec<Settlement> {
    let mut joined: Vec<Settlement> = Vec::new();
    for settlement in settlements {
        match joined.last_mut() {
            Some(last) if last.how == settlement.how => last.deliveries.extend(settlement.deliveries),
            Some(_) | None => joined.push(settlement),
        }
    }
    joined.iter_mut().for_each(|settlement| settlement.deliveries.sort_by_key(|(tag, _)| *tag));
    joined
}

/// Forgets what the transaction holds back: deliveries are outstanding again, under their tags and not redelivered.
/// False when there is no transaction.
pub fn undo(channel: &mut Channel) -> bool {
    let Mode::Tx(tx) = &mut channel.mode else { return false };
    let Tx { settlements, .. } = std::mem::take(tx);
    channel.publisher.discard();
    channel.unacked.restore(settlements.into_iter().flat_map(|settlement| settlement.deliveries));
    super::channel::show(channel);
    true
}
