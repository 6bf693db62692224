//! One client's connection, sans-IO: frames in, answers out, in the order of the requests.
//!
//! A frame is an int32 length and a request. Kafka mutes a channel while a request is at work; here consecutive Produce
//! requests overlap, because each waits for the disk and nothing else, and any other request waits for those before it.
//! So JoinGroup and a Fetch that waits hold up their own connection only, as clients expect.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;

use super::{
    Door,
    advertised::Node,
    api::{self, ApiKey},
    call::{Call, Client, Timer},
    dispatch::{self, Outcome, Work},
    login::{Login, TOKEN_BYTES_MAX},
    shown::Shown,
    wire::header::{API_VERSIONS_KEY, RequestHeader},
};
use crate::{
    broker::group::share::ShareSessions,
    net::{
        listener::Ends,
        pump::{self, Output},
    },
    store::Together,
};

/// Requests of one connection at work at the same time.
const IN_FLIGHT_MAX: usize = 64;

/// Bytes of requests at work, above which no further one is begun (the first is, however large).
const IN_FLIGHT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Only Produce has reason to be larger than this.
const OTHER_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Key, version and correlation id: no request is shorter.
const REQUEST_BYTES_MIN: usize = 8;

/// What is reserved for a frame that has begun to come; what is longer grows as its bytes come.
const RESERVED_BYTES_MAX: usize = 1024 * 1024;

/// A Kafka client's connection.
pub struct Connection {
    client: Arc<Client>,
    shown: Shown,
    state: State,
    at_work: VecDeque<InFlight>,
    at_work_bytes: usize,
    /// The next request waits: for those before it, or for the store to catch up.
    held_back: bool,
    relief: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    together: Together,
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What is at work is still answered; then the socket closes.
    Closing,
}

struct InFlight {
    key: ApiKey,
    bytes: usize,
    progress: Progress,
}

enum Progress {
    AtWork(Work),
    Done(Outcome),
}

/// The front of the input.
enum Front {
    Incomplete { missing: usize },
    Whole { frame_bytes: usize, key: i16 },
    Refused(String),
}

impl Connection {
    #[must_use]
    pub fn new(door: Arc<Door>, ends: Ends, now: Instant) -> Self {
        let advertised =
            if ends.tls.is_some() { &door.settings.tls_advertised } else { &door.settings.advertised };
        let node = Node::seen_at(ends.local, advertised.as_ref());
        let share_sessions = ShareSessions::new(door.broker.groups.clone());
        let core = &door.broker.core;
        core.meters.connections_opened.increment();
        let (peer, is_tls) = (ends.peer, ends.tls.is_some());
        Self {
            shown: Shown::new(core.ids.connection(), ends, core.clock.now_ms()),
            client: Arc::new(Client {
                login: Mutex::new(Login::new(door.settings.sasl, door.settings.login_lifetime)),
                identity: OnceLock::new(),
                door,
                peer,
                tls: is_tls,
                node,
                timer: Timer::new(now),
                share_sessions,
                fetches: Default::default(),
            }),
            state: State::Open,
            at_work: VecDeque::new(),
            at_work_bytes: 0,
            held_back: false,
            relief: None,
            together: Together::default(),
            output: Output::default(),
        }
    }

    /// Begins the next request, if it is whole and may begin. Whether it did.
    fn begin(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) -> bool {
        if self.state != State::Open || self.output.is_full() {
            return false;
        }
        if self.client.timer.is_muted() {
            self.held_back = true;
            return false;
        }
        // The handshake before it has been answered, or it would not be wanted.
        if self.client.login.lock().wants_bare_token() {
            return self.take_bare_token(now, input, cx);
        }
        match self.front(input) {
            Front::Incomplete { missing } => {
                input.reserve(missing.min(RESERVED_BYTES_MAX));
                false
            }
            Front::Refused(reason) => {
                self.close(&reason);
                false
            }
            Front::Whole { frame_bytes, key } => {
                self.held_back = self.must_wait(key, cx);
                if self.held_back {
                    return false;
                }
                input.advance(LENGTH_BYTES);
                let frame = input.split_to(frame_bytes).freeze();
                if let Err(reason) = self.start(now, frame, cx) {
                    self.close(&reason);
                }
                true
            }
        }
    }

    /// A token of SASL as it was before SaslAuthenticate (kafka-python 2.0): a length and bytes, both ways. Whoever is
    /// refused is told nothing, as with Kafka.
    fn take_bare_token(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) -> bool {
        self.held_back = !self.at_work.is_empty();
        if self.held_back {
            return false;
        }
        let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return false };
        let length = i32::from_be_bytes(*length);
        let Some(bytes) = usize::try_from(length).ok().filter(|bytes| *bytes <= TOKEN_BYTES_MAX) else {
            self.close(&format!("a SASL token of {length} bytes"));
            return false;
        };
        if input.len() < LENGTH_BYTES + bytes {
            return false;
        }
        input.advance(LENGTH_BYTES);
        let token = input.split_to(bytes);
        let client = self.client.clone();
        let work: Work = Box::pin(async move {
            match client.log_in(now, &token).await {
                Some(Ok(step)) => {
                    let length = u32::try_from(step.token.len()).unwrap_or_default();
                    Ok(vec![length.to_be_bytes().to_vec().into(), step.token.into()])
                }
                Some(Err(failed)) => Err(failed.0),
                None => Err("a SASL token that nobody asked for".to_owned()),
            }
        });
        self.put_to_work(ApiKey::SaslAuthenticate, bytes, Progress::AtWork(work), cx);
        true
    }

    /// Looks at the length, and at the key before the body has come: it decides how long the request may be.
    fn front(&self, input: &[u8]) -> Front {
        let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() else {
            return Front::Incomplete { missing: LENGTH_BYTES - input.len() };
        };
        let length = i32::from_be_bytes(*length);
        let frame_bytes = match usize::try_from(length) {
            Ok(bytes)
                if bytes >= REQUEST_BYTES_MIN && bytes <= self.client.door.settings.request_bytes_max =>
            {
                bytes
            }
            Ok(_) | Err(_) => return Front::Refused(format!("a request of {length} bytes")),
        };
        let Some(key) = rest.first_chunk().map(|key| i16::from_be_bytes(*key)) else {
            return Front::Incomplete { missing: frame_bytes };
        };
        if frame_bytes > OTHER_REQUEST_BYTES_MAX && served_key(key) != Some(ApiKey::Produce) {
            return Front::Refused(format!("a request of {length} bytes with API key {key}"));
        }
        match frame_bytes.checked_sub(rest.len()) {
            Some(missing) if missing > 0 => Front::Incomplete { missing },
            Some(_) | None => Front::Whole { frame_bytes, key },
        }
    }

    fn must_wait(&mut self, key: i16, cx: &mut Context<'_>) -> bool {
        let is_produce = served_key(key) == Some(ApiKey::Produce);
        if let Some(last) = self.at_work.back() {
            let overlaps = is_produce && last.key == ApiKey::Produce;
            let is_full = self.at_work.len() >= IN_FLIGHT_MAX || self.at_work_bytes >= IN_FLIGHT_BYTES_MAX;
            if !overlaps || is_full {
                return true;
            }
        }
        if !is_produce {
            return false;
        }
        let core = &self.client.door.broker.core;
        if self.relief.is_none() && (core.store.congested() || core.memory.reason().is_some()) {
            let core = core.clone();
            self.relief = Some(Box::pin(async move {
                core.store.relieved().await;
                core.memory.cleared().await;
            }));
        }
        match self.relief.as_mut().map(|relief| relief.as_mut().poll(cx)) {
            Some(Poll::Pending) => true,
            Some(Poll::Ready(())) | None => {
                self.relief = None;
                false
            }
        }
    }

    /// Gives a request to its handler, which does at once whatever needs not wait: appends keep their order.
    fn start(&mut self, now: Instant, frame: bytes::Bytes, cx: &mut Context<'_>) -> Result<(), String> {
        let bytes = frame.len();
        let (header, body) = RequestHeader::decode(frame, api::flexible_from)
            .map_err(|e| format!("a request's header: {e}"))?;
        let RequestHeader { api_key, api_version, correlation_id, client_id } = header;
        self.client.door.broker.core.meters.kafka_requests.increment();
        let (key, progress) = match dispatch::served(api_key, api_version) {
            Some(key) => {
                self.client.login.lock().admit(now, key)?;
                self.shown.list(&self.client, client_id.as_deref())?;
                let call = Call { client: self.client.clone(), version: api_version, client_id, bytes, now };
                let work = dispatch::start(key, call, correlation_id, body);
                let work = work.map_err(|e| format!("{key:?} request, version {api_version}: {e}"))?;
                (key, Progress::AtWork(work))
            }
            None if api_key == API_VERSIONS_KEY => {
                (ApiKey::ApiVersions, Progress::Done(dispatch::api_versions_fallback(correlation_id)))
            }
            None => return Err(format!("unsupported request: API key {api_key}, version {api_version}")),
        };
        self.put_to_work(key, bytes, progress, cx);
        Ok(())
    }

    fn put_to_work(&mut self, key: ApiKey, bytes: usize, mut progress: Progress, cx: &mut Context<'_>) {
        progress.advance(cx);
        self.at_work_bytes += bytes;
        self.at_work.push_back(InFlight { key, bytes, progress });
    }

    /// Sends the answers that are next and ready. Only the first needs to be polled: the others have done what they
    /// could when they began.
    fn settle(&mut self, cx: &mut Context<'_>) {
        while !self.output.is_full()
            && let Some(first) = self.at_work.front_mut()
        {
            first.progress.advance(cx);
            match first.progress {
                Progress::AtWork(_) => return,
                Progress::Done(_) => {}
            }
            let Some(InFlight { bytes, progress: Progress::Done(outcome), .. }) = self.at_work.pop_front()
            else {
                return;
            };
            self.at_work_bytes -= bytes;
            match outcome {
                Ok(frame) => {
                    frame.into_iter().for_each(|part| self.send(part));
                    if self.client.login.lock().has_failed() {
                        self.close("the login has failed");
                        self.forget();
                    }
                }
                Err(reason) => {
                    self.close(&reason);
                    self.forget();
                }
            }
        }
    }

    fn send(&mut self, part: bytes::Bytes) {
        if part.len() <= COPIED_BYTES_MAX {
            self.output.buffer().extend_from_slice(&part);
        } else {
            self.output.push(part);
        }
    }

    fn close(&mut self, reason: &str) {
        tracing::info!(peer = %self.client.peer, "kafka connection closed: {reason}");
        self.state = State::Closing;
    }

    /// Whoever waits for anything but the disk is not answered any more.
    fn cut_off(&mut self) {
        if self.at_work.front().is_some_and(|first| first.key != ApiKey::Produce) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.at_work.clear();
        self.at_work_bytes = 0;
        self.client.timer.forget();
    }
}

const LENGTH_BYTES: usize = 4;

/// A small answer is copied into the common buffer, so that many leave in one write.
const COPIED_BYTES_MAX: usize = 4 * 1024;

fn served_key(number: i16) -> Option<ApiKey> {
    api::api(number).map(|api| api.key)
}

impl Progress {
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Self::AtWork(work) = self
            && let Poll::Ready(outcome) = work.as_mut().poll(cx)
        {
            *self = Self::Done(outcome);
        }
    }
}

impl pump::Connection for Connection {
    /// Nothing here: a handler that begins needs a waker, and `poll` follows at once.
    fn on_bytes(&mut self, _now: Instant, _input: &mut BytesMut) {}

    fn poll(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) {
        // Most of what a request waits for is a turn of the log.
        let waker = self.together.of(cx.waker());
        let cx = &mut Context::from_waker(&waker);
        self.client.timer.set_now(now);
        self.held_back = false;
        if let Some(reason) = self.shown.asked_to_close(cx.waker()) {
            self.close(&reason);
            self.cut_off();
        }
        loop {
            self.settle(cx);
            if !self.begin(now, input, cx) {
                return;
            }
        }
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn deadline(&self) -> Option<Instant> {
        self.client.timer.wanted()
    }

    fn on_deadline(&mut self, now: Instant) {
        // `poll` follows, and finds the time set.
        self.client.timer.set_now(now);
    }

    fn reading(&self) -> bool {
        self.state == State::Open && !self.held_back
    }

    fn finished(&self) -> bool {
        self.state == State::Closing && self.at_work.is_empty()
    }

    /// Kafka has no words for it. What is on its way to disk is still confirmed; whoever waits for records or for a
    /// rebalance is cut off.
    fn on_shutdown(&mut self, _now: Instant) {
        self.state = State::Closing;
        self.cut_off();
    }

    fn on_end(&mut self, _now: Instant) {
        self.state = State::Closing;
        self.relief = None;
        self.forget();
        self.shown.end(&self.client);
        self.client.door.broker.core.meters.connections_closed.increment();
    }
}
