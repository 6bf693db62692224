//! Aggregates by SESSION: windows of a key that grow while its rows come within the gap, and join when they touch.
//! (Flink: WindowOperator with a merging assigner)

use super::{
    Cx, Operator,
    aggregate::{Aggregates, Group},
    closes_windows,
    rows::{first_key, time_of},
    stored,
    window_aggregate::emit,
    window_clock::WindowClock,
};
use crate::stream::state::encode::{damaged, take_time, time_key};
use crate::stream::{
    datum::Row,
    expr::EvalError,
    plan::{
        physical::{self, OperatorId},
        window::{WindowShape, WindowTime},
    },
    state::{
        encode::take_all_of,
        keyed::{Changes, Keyed, StateValue, prefix_of},
        timed::Timers,
    },
};

pub struct SessionAggregate {
    gap_ms: i64,
    clock: WindowClock,
    time: WindowTime,
    keys: usize,
    aggregates: Aggregates,
    sessions: Keyed<Sessions>,
    /// Ends of sessions, by key.
    ends: Timers,
    scratch: Vec<u8>,
}

/// The open sessions of a key, by start. They never touch each other.
#[derive(Debug, Default)]
struct Sessions {
    open: Vec<Session>,
    /// Starts of those that are gone.
    gone: Vec<(i64, Group)>,
}

#[derive(Debug)]
struct Session {
    start: i64,
    end: i64,
    group: Group,
}

impl SessionAggregate {
    pub fn open(id: OperatorId, plan: &physical::WindowAggregate, fresh: bool) -> Result<Self, EvalError> {
        let gap_ms = match plan.window.shape {
            WindowShape::Session { gap } => gap,
            WindowShape::Cumulate { .. } | WindowShape::Hop { .. } | WindowShape::Tumble { .. } => 0,
        };
        Ok(Self {
            gap_ms,
            clock: WindowClock::open(plan.window.zone.as_ref())?,
            time: plan.time,
            keys: plan.keys,
            aggregates: Aggregates::open(&plan.calls, false),
            sessions: Keyed::new(prefix_of(id, b's'), plan.keys, fresh, None),
            ends: Timers::new(prefix_of(id, b't')),
            scratch: Vec::new(),
        })
    }

    fn is_event_time(&self) -> bool {
        matches!(self.time, WindowTime::Event { .. })
    }

    fn close(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((end, key)) = self.ends.next_if(|end| self.clock.is_over(end, watermark_ms)) {
            let sessions = self.sessions.value(&key, cx.now.ms, cx.store)?;
            let Some(index) = sessions.open.iter().position(|s| s.end == end) else { continue };
            let session = sessions.open.remove(index);
            let bounds = self.clock.columns(session.start, end);
            emit(&self.aggregates, take_all_of(&key)?, &session.group, bounds, cx);
            sessions.gone.push((session.start, session.group));
        }
        Ok(())
    }
}

impl Operator for SessionAggregate {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let at = self.clock.shown(match self.time {
            WindowTime::Event { column } => time_of(&row, column)?,
            WindowTime::Attached { .. } | WindowTime::Processing => cx.now.ms,
        });
        let (mut start, mut end) = (at, at.saturating_add(self.gap_ms));
        first_key(&row, self.keys, &mut self.scratch);
        let closed = if self.is_event_time() { cx.now.watermark_ms.unwrap_or(i64::MIN) } else { i64::MIN };
        let sessions = self.sessions.value(&self.scratch, cx.now.ms, cx.store)?;
        let touching = |s: &Session| s.start <= end && s.end >= start;
        let joined: Vec<usize> =
            sessions.open.iter().enumerate().filter(|(_, s)| touching(s)).map(|(i, _)| i).collect();
        for session in joined.iter().filter_map(|i| sessions.open.get(*i)) {
            (start, end) = (start.min(session.start), end.max(session.end));
        }
        let over = self.clock.last_of(end);
        if over <= closed {
            cx.late(over);
            return Ok(());
        }
        let mut merged = Session { start, end, group: Group::default() };
        let single = joined.len() == 1;
        for (removed, index) in joined.into_iter().enumerate() {
            let session = sessions.open.remove(index - removed);
            if session.end != end {
                self.ends.remove(session.end, &self.scratch);
            }
            if single && session.start == start {
                merged.group = session.group;
            } else {
                self.aggregates.merge(&mut merged.group, &session.group);
                sessions.gone.push((session.start, session.group));
            }
        }
        self.aggregates.apply(&mut merged.group, &row, false)?;
        let place = sessions.open.partition_point(|s| s.start < start);
        sessions.open.insert(place, merged);
        self.ends.add(end, &self.scratch);
        Ok(())
    }

    closes_windows!(ends);

    stored!(sessions, ends);
}

impl StateValue for Sessions {
    const PARTS: bool = true;

    fn save(&mut self, key: &[u8], changes: &mut Changes) {
        for (start, mut group) in self.gone.drain(..) {
            let sub = [key, &time_key(start)].concat();
            group.clear();
            group.save(&sub, changes);
            changes.deletes.push([key, b"e", time_key(start).as_slice()].concat());
        }
        for session in &mut self.open {
            let sub = [key, &time_key(session.start)].concat();
            session.group.save(&sub, changes);
            let end = [key, b"e", time_key(session.start).as_slice()].concat();
            changes.puts.push((end, time_key(session.end).to_vec()));
        }
    }

    fn clear(&mut self) {
        self.gone.extend(self.open.drain(..).map(|s| (s.start, s.group)));
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn load(_whole: Option<&[u8]>, parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError> {
        let mut sessions = Self::default();
        for (sub, value) in parts {
            let Some(mut start) = sub.strip_prefix(b"e").filter(|rest| rest.len() == 8) else { continue };
            let (start, end) = (take_time(&mut start)?, take_time(&mut { *value })?);
            let prefix = time_key(start);
            let own: Vec<(&[u8], &[u8])> = parts
                .iter()
                .filter(|(sub, _)| !(sub.first() == Some(&b'e') && sub.len() == 9))
                .filter_map(|(sub, value)| Some((sub.strip_prefix(prefix.as_slice())?, *value)))
                .collect();
            let whole = own.iter().find(|(sub, _)| sub.is_empty()).map(|(_, value)| *value);
            let rest: Vec<(&[u8], &[u8])> = own.iter().copied().filter(|(sub, _)| !sub.is_empty()).collect();
            sessions.open.push(Session { start, end, group: Group::load(whole, &rest)? });
        }
        if sessions.open.is_empty() && !parts.is_empty() {
            return Err(damaged());
        }
        sessions.open.sort_by_key(|s| s.start);
        Ok(sessions)
    }
}
