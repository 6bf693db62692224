//! What the shards of a job have made in an epoch, put into one order: that of the numbers of what it was made of.

use super::{
    OutRecord,
    later::{Item, Later},
    poll::late_record,
    shards::{Epoch, NUMBERS, index_of},
};
use crate::stream::operator::{Late, Mark, Outputs};

/// What an epoch has made so far.
#[derive(Default)]
pub(super) struct Made {
    /// Before any shard saw it.
    asides: Part,
    /// By the shards, stage by stage.
    parts: Vec<Part>,
    late: Vec<(u64, Late)>,
}

/// What was made in one place, in the order of its making.
#[derive(Default)]
struct Part {
    outputs: Outputs,
    /// Of what number the outputs up to there are.
    ends: Vec<(u64, Mark)>,
}

impl Part {
    fn aside(&mut self, seq: u64, topic: &str, record: OutRecord) {
        self.outputs.appends.push((topic.into(), record));
        self.ends.push((seq, self.outputs.mark()));
    }
}

impl Made {
    /// Records that are set aside before any shard sees them, by their numbers.
    pub(super) fn aside(&mut self, seq: u64, topic: &str, record: OutRecord) {
        self.asides.aside(seq, topic, record);
    }

    /// What a shard has made of a stage.
    pub(super) fn add(&mut self, outputs: Outputs, ends: Vec<(u64, Mark)>, late: Vec<(u64, Late)>) {
        self.parts.push(Part { outputs, ends });
        self.late.extend(late);
    }

    /// Records that were late themselves, each once.
    pub(super) fn set_late_aside(&mut self, later: &Later, epoch: &Epoch<'_>) {
        let Some(topic) = epoch.late_topic else { return };
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|(seq, _)| *seq);
        late.dedup_by_key(|(seq, _)| *seq);
        let mut last = Part::default();
        for (seq, late) in late.into_iter().filter(|(seq, _)| seq.is_multiple_of(NUMBERS)) {
            if let Some(Item::Record { key, record, .. }) = index_of(seq).and_then(|index| later.item(index))
            {
                last.aside(seq, topic, late_record(key, &record, late, epoch.now.ms));
            }
        }
        self.parts.push(last);
    }

    pub(super) fn into_outputs(self, outputs: &mut Outputs) {
        let mut parts: Vec<Part> = [self.asides].into_iter().chain(self.parts).collect();
        let parts = parts.as_mut_slice();
        in_order(parts, &mut outputs.appends, |made| &mut made.appends, |mark| mark.appends);
        in_order(parts, &mut outputs.published, |made| &mut made.published, |mark| mark.published);
        in_order(parts, &mut outputs.printed, |made| &mut made.printed, |mark| mark.printed);
        in_order(parts, &mut outputs.written, |made| &mut made.written, |mark| mark.written);
        outputs.rows_out += parts.iter().map(|part| part.outputs.rows_out).sum::<u64>();
        outputs.late_rows += parts.iter().map(|part| part.outputs.late_rows).sum::<u64>();
    }
}

/// Of one number first what was made in the first place.
fn in_order<T>(
    parts: &mut [Part],
    into: &mut Vec<T>,
    of: fn(&mut Outputs) -> &mut Vec<T>,
    mark: fn(&Mark) -> usize,
) {
    let mut order: Vec<(u64, usize, usize)> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let mut before = 0;
        for (seq, end) in &part.ends {
            let count = mark(end).saturating_sub(before);
            before += count;
            if count > 0 {
                order.push((*seq, place, count));
            }
        }
    }
    order.sort_by_key(|(seq, ..)| *seq);
    let mut made: Vec<_> =
        parts.iter_mut().map(|part| std::mem::take(of(&mut part.outputs)).into_iter()).collect();
    into.reserve(made.iter().map(ExactSizeIterator::len).sum());
    for (_, place, count) in order {
        into.extend(made.get_mut(place).into_iter().flat_map(|made| made.by_ref().take(count)));
    }
}
