//! One source's turn in an epoch: records read, and sent through the operators one by one.
//!
//! A record that cannot be read or computed leaves nothing behind; with `dlq` it goes there instead.

use std::sync::Arc;

use super::{
    Log, OutRecord, READ_BYTES_MAX, State,
    graph::Graph,
    input::{Cursor, FILES, Input, InputKind, Key, failure_at},
    later::Later,
};
use crate::{
    data::record::{Batch, BatchError, Record},
    stream::{
        expr::{EvalError, Now},
        operator::{Late, Msg, Outputs, metadata::Place},
        state::Failure,
    },
};

/// A batch may grow to this when it is decompressed.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// The clock is asked once in so many rows; in tests after each, so that an epoch can end at any record.
const ROWS_PER_LOOK: usize = if cfg!(test) { 1 } else { 32 };

/// Why an epoch cannot go on.
pub(super) enum Stop {
    /// Nothing of the record is left behind: what came before it counts.
    At(Failure),
    /// It would happen again: nothing of the epoch counts.
    Fatal(Failure),
    /// Operators have seen the record: the epoch is made again, and it does not reach them.
    Poisoned(Poison),
}

/// A record that fails behind operators with state.
pub(super) struct Poison {
    pub(super) key: Key,
    pub(super) offset: i64,
    pub(super) reason: String,
    /// The record is to blame, not what its time set off: it may go to the dead letters.
    pub(super) skips: bool,
}

/// What is left of an epoch.
pub(super) struct Budget<'a> {
    pub(super) rows: usize,
    pub(super) rows_max: usize,
    pub(super) bytes: usize,
    pub(super) over: &'a dyn Fn() -> bool,
    pub(super) dlq: Option<Arc<str>>,
    pub(super) late_topic: Option<Arc<str>>,
    pub(super) poisoned: &'a [Poison],
}

impl Budget<'_> {
    /// Never before the first row: a late clock must not keep a job from moving at all.
    pub(super) fn spent(&self) -> bool {
        let begun = self.rows < self.rows_max;
        self.rows == 0
            || self.bytes == 0
            || (begun && self.rows.is_multiple_of(ROWS_PER_LOOK) && (self.over)())
    }

    fn take(&mut self, record: &Record<'_>) {
        self.rows -= 1;
        self.bytes = self.bytes.saturating_sub(record.value.map_or(0, <[u8]>::len));
    }
}

/// Where goes what is read: through the only graph at once; or it is gathered for several.
pub(super) struct Feed<'a> {
    pub(super) graph: &'a mut Graph,
    pub(super) later: Option<&'a mut Later>,
}

impl Feed<'_> {
    pub(super) fn push(
        &mut self,
        source: usize,
        msg: Msg,
        now: Now,
        outputs: &mut Outputs,
        store: &State<'_>,
    ) -> Result<(), EvalError> {
        match &mut self.later {
            None => self.graph.push(source, msg, now, outputs, store),
            Some(later) => {
                later.msg(source, msg);
                Ok(())
            }
        }
    }
}

/// One source's turn.
pub(super) struct Poll<'a, 'f> {
    /// Which of the inputs it is.
    pub(super) source: usize,
    pub(super) input: &'a mut Input,
    pub(super) feed: &'a mut Feed<'f>,
    pub(super) outputs: &'a mut Outputs,
    pub(super) now: Now,
    pub(super) store: &'a State<'a>,
}

impl Poll<'_, '_> {
    /// Reads of every partition what is at hand, up to a batch. Whether a position moved.
    pub(super) fn poll(
        mut self,
        log: &dyn Log,
        budget: &mut Budget<'_>,
        wake_at_ms: &mut Option<i64>,
    ) -> Result<bool, Stop> {
        match self.input.kind {
            InputKind::Datagen(_) => return self.generate(budget, wake_at_ms),
            InputKind::Files(_) => return self.files(log, budget),
            InputKind::Kafka { .. } => {}
        }
        let keys: Vec<Key> = self.input.cursors.keys().cloned().collect();
        let mut moved = false;
        for key in keys {
            let before = self.position(&key);
            if !budget.spent() && self.input.fill(&key, log, READ_BYTES_MAX).map_err(Stop::At)? {
                self.batch(&key, budget)?;
            }
            moved |= before != self.position(&key);
            self.at_end(&key)?;
        }
        Ok(moved)
    }

    fn position(&self, key: &Key) -> i64 {
        self.input.cursors.get(key).map_or(0, |c| c.position)
    }

    /// Works off the front batch, or as much of it as the budget allows.
    fn batch(&mut self, key: &Key, budget: &mut Budget<'_>) -> Result<(), Stop> {
        // Taken out meanwhile: looking it up again for each record would cost as much as reading one.
        let Some(mut cursor) = self.input.cursors.remove(key) else { return Ok(()) };
        let result = match self.input.kind {
            InputKind::Files(_) => self.front_lines(key, &mut cursor, budget),
            InputKind::Datagen(_) | InputKind::Kafka { .. } => self.front_batch(key, &mut cursor, budget),
        };
        self.input.cursors.insert(key.clone(), cursor);
        result
    }

    fn front_batch(&mut self, key: &Key, cursor: &mut Cursor, budget: &mut Budget<'_>) -> Result<(), Stop> {
        let position = cursor.position;
        let unreadable = |e: BatchError| Stop::At(failure_at(key, position, e.to_string()));
        let Some(bytes) = cursor.pending.front().cloned() else { return Ok(()) };
        let batch = Batch::decode(bytes).map_err(unreadable)?;
        let header = *batch.header();
        cursor.place.leader_epoch = header.partition_leader_epoch;
        cursor.place.log_append_time = header.attributes.is_log_append_time();
        if !header.attributes.is_control() {
            let payload = batch.payload(BATCH_BYTES_MAX).map_err(unreadable)?;
            if let Some(later) = &mut self.feed.later {
                later.turn(self.source, key, &cursor.place, Some(&payload));
            }
            for record in &payload {
                let record = record.map_err(|e| Stop::At(failure_at(key, cursor.position, e.to_string())))?;
                if record.offset < cursor.position {
                    continue;
                }
                if cursor.ended() || budget.spent() {
                    return Ok(());
                }
                self.record(key, &cursor.place, &record, budget)?;
                budget.take(&record);
                cursor.position = record.offset + 1;
            }
        }
        cursor.position = cursor.position.max(header.last_offset() + 1);
        cursor.pending.pop_front();
        Ok(())
    }

    /// Reads the files one after the other, each to the end it had when it was found.
    fn files(&mut self, log: &dyn Log, budget: &mut Budget<'_>) -> Result<bool, Stop> {
        let unread = |(key, cursor): (&Key, &Cursor)| (!cursor.ended()).then(|| key.clone());
        let mut moved = false;
        if !budget.spent()
            && let Some(key) = self.input.cursors.iter().find_map(unread)
        {
            let before = self.position(&key);
            if self.input.fill(&key, log, READ_BYTES_MAX).map_err(Stop::At)? {
                self.batch(&key, budget)?;
            }
            moved = before != self.position(&key);
        }
        if self.input.ended() {
            self.at_end(&FILES)?;
        }
        Ok(moved)
    }

    /// Works off the records in what was read of a file, or as many of them as the budget allows.
    fn front_lines(&mut self, key: &Key, cursor: &mut Cursor, budget: &mut Budget<'_>) -> Result<(), Stop> {
        let Some(mut rest) = cursor.pending.pop_front() else { return Ok(()) };
        let read_to = cursor.position + i64::try_from(rest.len()).unwrap_or(0);
        let last = cursor.end.is_some_and(|end| read_to >= end);
        if let Some(later) = &mut self.feed.later {
            later.turn(self.source, key, &cursor.place, None);
        }
        loop {
            let InputKind::Files(files) = &self.input.kind else { return Ok(()) };
            let Some(piece) = files.splitter.next(&rest, last) else { break };
            if budget.spent() {
                cursor.pending.push_front(rest);
                return Ok(());
            }
            if !piece.is_empty {
                let record = Record::plain(cursor.position, cursor.place.modified_ms, rest.get(..piece.len));
                self.record(key, &cursor.place, &record, budget)?;
                budget.take(&record);
            }
            cursor.position += i64::try_from(piece.with_end).unwrap_or(0);
            rest = rest.slice(piece.with_end.min(rest.len())..);
        }
        // Half a record: read again together with what follows it.
        Ok(())
    }

    /// One record through the job. If it cannot be read or computed it leaves nothing behind.
    fn record(
        &mut self,
        key: &Key,
        place: &Place,
        record: &Record<'_>,
        budget: &Budget<'_>,
    ) -> Result<(), Stop> {
        let poison = budget.poisoned.iter().find(|p| p.key == *key && p.offset == record.offset);
        if let (None, Some(later)) = (poison, &mut self.feed.later) {
            later.record(record);
            return Ok(());
        }
        let (reason, skips) = match poison {
            Some(poison) => (poison.reason.clone(), poison.skips),
            None => {
                let mark = self.outputs.mark();
                match self.try_record(key, place, record, budget) {
                    Ok(()) => return Ok(()),
                    Err(Broken::Unread(reason)) => (reason, true),
                    Err(Broken::Row(reason) | Broken::Time(reason)) if !self.feed.graph.is_stateful() => {
                        self.outputs.back_to(mark);
                        (reason, true)
                    }
                    Err(broken) => {
                        let (reason, skips) = match broken {
                            Broken::Row(reason) | Broken::Unread(reason) => (reason, true),
                            Broken::Time(reason) => (reason, false),
                        };
                        let poison = Poison { key: key.clone(), offset: record.offset, reason, skips };
                        return Err(Stop::Poisoned(poison));
                    }
                }
            }
        };
        self.feed.graph.fail(self.input.node);
        match &budget.dlq {
            Some(dlq) if skips => {
                let aside = set_aside(key, record, vec![("x-error", reason)], self.now.ms);
                match &mut self.feed.later {
                    None => self.outputs.appends.push((dlq.clone(), aside)),
                    Some(later) => later.aside(dlq, aside),
                }
                Ok(())
            }
            _ => Err(Stop::At(failure_at(key, record.offset, reason))),
        }
    }

    fn try_record(
        &mut self,
        key: &Key,
        place: &Place,
        record: &Record<'_>,
        budget: &Budget<'_>,
    ) -> Result<(), Broken> {
        let (reader, clock) = match &self.input.kind {
            InputKind::Kafka { reader, .. } => (&**reader, key),
            // Of all files there is one watermark, as on Flink.
            InputKind::Files(files) => (&files.reader, &*FILES),
            InputKind::Datagen(_) => return Ok(()),
        };
        let Some(row) = reader.read(record, place).map_err(|e| Broken::Unread(e.0))? else { return Ok(()) };
        let watermark = reader.watermark(&row, self.now).map_err(|e| Broken::Unread(e.0))?;
        self.outputs.late = None;
        self.feed
            .push(self.input.node, Msg::Row(row), self.now, self.outputs, self.store)
            .map_err(|e| Broken::Row(e.0))?;
        if let (Some(late), Some(topic)) = (self.outputs.late.take(), &budget.late_topic) {
            self.outputs.appends.push((topic.clone(), late_record(key, record, late, self.now.ms)));
        }
        let risen = watermark.and_then(|w| self.input.watermarks.on_record(clock, w, self.now.ms));
        if watermark.is_some() && std::mem::take(&mut self.input.idle) {
            self.feed
                .push(self.input.node, Msg::Idle(false), self.now, self.outputs, self.store)
                .map_err(|e| Broken::Time(e.0))?;
        }
        if let Some(risen) = risen {
            self.feed
                .push(self.input.node, Msg::Watermark(risen), self.now, self.outputs, self.store)
                .map_err(|e| Broken::Time(e.0))?;
        }
        Ok(())
    }

    /// A bounded partition that has been read holds no watermark back.
    fn at_end(&mut self, key: &Key) -> Result<(), Stop> {
        if self.input.cursors.get(key).is_some_and(|cursor| !cursor.ended()) {
            return Ok(());
        }
        if let Some(later) = &mut self.feed.later {
            later.end(self.source, key);
            return Ok(());
        }
        match self.input.watermarks.on_end(key) {
            Some(risen) => self
                .feed
                .push(self.input.node, Msg::Watermark(risen), self.now, self.outputs, self.store)
                .map_err(|e| Stop::Fatal(no_record(&e))),
            None => Ok(()),
        }
    }

    fn generate(&mut self, budget: &mut Budget<'_>, wake_at_ms: &mut Option<i64>) -> Result<bool, Stop> {
        let key: Key = ("".into(), 0);
        let InputKind::Datagen(generator) = &mut self.input.kind else { return Ok(false) };
        let Some(cursor) = self.input.cursors.get_mut(&key) else { return Ok(false) };
        let before = cursor.position;
        while !cursor.ended() && !budget.spent() {
            if !generator.due(self.now.ms) {
                let at = generator.next_due_ms();
                *wake_at_ms = Some(wake_at_ms.map_or(at, |before| at.min(before)));
                break;
            }
            let row = generator.row(cursor.position, self.now);
            let watermark = generator.watermark(&row, self.now);
            if let Some(poison) = budget.poisoned.iter().find(|p| p.key == key && p.offset == cursor.position)
            {
                return Err(Stop::At(failure_at(&key, cursor.position, poison.reason.clone())));
            }
            if let Some(later) = &mut self.feed.later {
                let watermark = watermark.map_err(|e| Stop::Fatal(no_record(&e)))?;
                later.row(self.source, cursor.position, row, watermark);
                cursor.position += 1;
                budget.rows -= 1;
                continue;
            }
            let mark = self.outputs.mark();
            let pushed = self.feed.push(self.input.node, Msg::Row(row), self.now, self.outputs, self.store);
            if let Err(EvalError(reason)) = pushed {
                if self.feed.graph.is_stateful() {
                    let poison = Poison { key, offset: cursor.position, reason, skips: false };
                    return Err(Stop::Poisoned(poison));
                }
                self.outputs.back_to(mark);
                return Err(Stop::At(failure_at(&key, cursor.position, reason)));
            }
            cursor.position += 1;
            budget.rows -= 1;
            let risen =
                watermark.map(|w| w.and_then(|w| self.input.watermarks.on_record(&key, w, self.now.ms)));
            let pushed = risen.and_then(|risen| match risen {
                Some(risen) => {
                    let msg = Msg::Watermark(risen);
                    self.feed.push(self.input.node, msg, self.now, self.outputs, self.store)
                }
                None => Ok(()),
            });
            pushed.map_err(|e| Stop::Fatal(no_record(&e)))?;
        }
        let moved = cursor.position != before;
        self.at_end(&key)?;
        Ok(moved)
    }
}

/// Where a record broke.
enum Broken {
    /// In an operator, at the row.
    Row(String),
    /// At what its time set off.
    Time(String),
    /// Before any operator saw it.
    Unread(String),
}

/// A record that was late itself, as it goes to the late ones.
pub(super) fn late_record(key: &Key, record: &Record<'_>, late: Late, now_ms: i64) -> OutRecord {
    let Late { by_ms, watermark_ms } = late;
    let added = vec![("x-late-by-ms", by_ms.to_string()), ("x-watermark", watermark_ms.to_string())];
    set_aside(key, record, added, now_ms)
}

/// The record as it was, and why it is where it is now.
pub(super) fn set_aside(key: &Key, record: &Record<'_>, why: Vec<(&str, String)>, now_ms: i64) -> OutRecord {
    let mut headers: Vec<(String, Option<Vec<u8>>)> =
        record.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
    let from = [
        ("x-topic", key.0.to_string()),
        ("x-partition", key.1.to_string()),
        ("x-offset", record.offset.to_string()),
    ];
    let added = why.into_iter().chain(from);
    headers.extend(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    let timestamp_ms = if record.timestamp < 0 { now_ms } else { record.timestamp };
    OutRecord {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
        timestamp_ms,
    }
}

/// A failure at a watermark, which no single record is to blame for.
pub(super) fn no_record(e: &EvalError) -> Failure {
    Failure { topic: String::new(), partition: -1, offset: -1, reason: e.0.clone() }
}
