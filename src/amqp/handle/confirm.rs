//! Class 85, confirm: RabbitMQ's publisher confirms.

use std::sync::atomic::Ordering;

use crate::amqp::{
    channel::{Batch, Channel, Mode},
    fault::Fault,
    session::Context,
    wire::confirm::{Select, SelectOk},
};

/// `confirm.select`; asking twice changes nothing.
///
/// # Errors
/// On a transactional channel.
pub fn select(cx: &mut Context<'_>, channel: &mut Channel, method: &Select) -> Result<(), Fault> {
    match channel.mode {
        Mode::Plain => channel.mode = Mode::Confirm(Batch::default()),
        Mode::Confirm(_) => {}
        Mode::Tx(_) => return Err(Fault::TxToConfirm),
    }
    channel.info.confirm.store(true, Ordering::Relaxed);
    if !method.nowait {
        cx.send(channel.number, &SelectOk {});
    }
    Ok(())
}
