//! From the protocol header to `connection.open-ok`, and the connection class after that.
//!
//! Until the peer is known it is told little: RabbitMQ answers a refused login, tune or vhost, and closes everything
//! else without a word after a while, to slow down guessing. (AMQP 0-9-1 §2.2.4; rabbit_reader.)

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use super::{Connection, Login, Phase, SILENT_CLOSE_DELAY};
use crate::{
    amqp::{
        channels::Channels,
        fault::{Fault, Reply},
        handle,
        login::{self, Claim, Credentials},
        session::{Alarm, Context, Session, Tally, fault_of},
        wire::{
            Method, MethodId, connection,
            frame::{self, Greeting, PROTOCOL_HEADER},
        },
    },
    broker::{
        auth::{Denied, User},
        login::is_here,
        outlet::{Event, Outlet},
        queue::ConnectionId,
        registry::{ConnectionInfo, LimitReached, Limits},
        vhost::Vhost,
        vhost_settings::MAX_CONNECTIONS,
    },
};

/// A user that was let into a vhost.
struct Entered {
    login: Login,
    users_version: u64,
    vhost: Arc<Vhost>,
    id: ConnectionId,
    outlet: Arc<Outlet>,
    info: Arc<ConnectionInfo>,
}

impl Connection {
    /// The protocol header, at the front of `input`; returns how many bytes were taken.
    pub(super) fn greet(&mut self, input: &[u8], until: Instant) -> usize {
        match frame::greeting(input) {
            Some(Greeting::Amqp091) => {
                let profile = self.profile();
                let mechanisms =
                    login::mechanisms(profile, &self.door.settings, self.ends.tls.as_deref()).join(" ");
                let start = handle::connection::start(profile, &self.door.settings, &mechanisms);
                frame::put_method(self.output.buffer(), 0, &start);
                self.phase = Phase::Start { until };
                PROTOCOL_HEADER.len()
            }
            // What may still become a header is waited for.
            None if PROTOCOL_HEADER.iter().zip(input).take(4).all(|(a, b)| a == b) => 0,
            // A peer that speaks AMQP hears what we speak; others hear what that RabbitMQ says to strangers.
            answered => {
                let amqp = matches!(answered, Some(Greeting::OtherRevision | Greeting::Amqp10));
                let answer = if amqp { PROTOCOL_HEADER } else { self.profile().junk_header_answer };
                self.output.buffer().extend_from_slice(&answer);
                self.phase = Phase::Over;
                input.len()
            }
        }
    }

    /// A method on channel 0.
    pub(super) fn on_connection_method(&mut self, now: Instant, method: Method<'_>, id: MethodId) {
        let Method::Connection(method) = method else {
            self.fail(now, 0, &Fault::ConnectionState(self.state()), id);
            return;
        };
        match (std::mem::replace(&mut self.phase, Phase::Over), method) {
            (Phase::Start { until }, connection::Method::StartOk(m)) => {
                self.phase = Phase::Start { until };
                self.on_start_ok(now, until, &m);
            }
            (Phase::Tune { until, login }, connection::Method::TuneOk(m)) => {
                match handle::connection::check_tune(self.door.broker.core.profile, &self.door.settings, &m) {
                    Ok(()) => self.phase = Phase::Opening { until, login, tuned: m },
                    Err(fault) => {
                        // RabbitMQ means to tell, but its process fails over the method's name: only its log knows.
                        let text = fault.reply(self.profile()).text;
                        tracing::warn!(peer = %self.ends.peer, text, "failed to negotiate connection parameters");
                        self.phase = Phase::Silent { until: now + SILENT_CLOSE_DELAY };
                    }
                }
            }
            (Phase::Opening { until, login, tuned }, connection::Method::Open(m)) => {
                self.on_open(now, until, login, &tuned, &m);
            }
            (Phase::Open(mut session), connection::Method::UpdateSecret(_)) => {
                let mut cx = Context { session: &mut session, output: &mut self.output, now_ms: 0 };
                let updated = handle::connection::update_secret(&mut cx);
                self.phase = Phase::Open(session);
                if let Err(fault) = updated {
                    self.fail(now, 0, &fault, id);
                }
            }
            (Phase::Open(session), connection::Method::Close(_)) => {
                let frame_max = session.frame_max;
                self.tear_down(session);
                frame::put_method(self.output.buffer(), 0, &connection::CloseOk {});
                // streadway/amqp takes an end that comes with the answer for an error (its TestConcurrentClose).
                self.phase = Phase::Closed { until: now + self.patience(), frame_max };
            }
            (phase, _) => {
                self.phase = phase;
                self.fail(now, 0, &Fault::ConnectionState(self.state()), id);
            }
        }
    }

    fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Greeting { .. } | Phase::Start { .. } => "starting",
            Phase::Tune { .. } => "tuning",
            Phase::Opening { .. } => "opening",
            Phase::Open(_) => "running",
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Silent { .. } | Phase::Over => "closed",
        }
    }

    fn on_start_ok(&mut self, now: Instant, until: Instant, method: &connection::StartOk<'_>) {
        let capabilities = handle::connection::capabilities(&method.client_properties);
        let meters = &self.door.broker.core.meters;
        let said = (method.mechanism, method.response);
        let claim = login::claim(self.profile(), &self.door.settings, self.ends.tls.as_deref(), said);
        let Some(claim) = claim else {
            meters.auth_failed.increment();
            tracing::warn!(peer = %self.ends.peer, mechanism = method.mechanism, "login with a mechanism or response that is none");
            self.phase = Phase::Silent { until: now + SILENT_CLOSE_DELAY };
            return;
        };
        match self.login(&claim) {
            Ok(user) => {
                meters.auth_succeeded.increment();
                self.tell_login("user.authentication.success", claim.user(), method.mechanism);
                let client_properties = method.client_properties.clone();
                frame::put_method(self.output.buffer(), 0, &handle::connection::tune(&self.door.settings));
                self.phase = Phase::Tune {
                    until,
                    login: Login {
                        user,
                        client_properties,
                        mechanism: method.mechanism.into(),
                        capabilities,
                    },
                };
            }
            Err(_) => {
                meters.auth_failed.increment();
                self.tell_login("user.authentication.failure", claim.user(), method.mechanism);
                tracing::warn!(peer = %self.ends.peer, user = claim.user(), "login refused");
                if capabilities.authentication_failure_close {
                    let mechanism = method.mechanism.to_owned();
                    self.fail(now, 0, &Fault::LoginRefused { mechanism }, MethodId::NONE);
                } else {
                    self.phase = Phase::Silent { until: now + SILENT_CLOSE_DELAY };
                }
            }
        }
    }

    fn login(&self, claim: &Claim) -> Result<Arc<User>, Denied> {
        let (users, is_here) = (&self.door.broker.users, is_here(self.ends.peer.ip()));
        match claim {
            Claim::Password(Credentials { user, password }) => users.login(user, password, is_here),
            Claim::Certificate(user) => users.certified(user, is_here),
            Claim::Nobody(reason) => {
                tracing::warn!(peer = %self.ends.peer, "EXTERNAL login refused: {reason}");
                Err(Denied)
            }
        }
    }

    fn on_open(
        &mut self,
        now: Instant,
        until: Instant,
        login: Login,
        tuned: &connection::TuneOk,
        method: &connection::Open<'_>,
    ) {
        let entered = match self.enter(login, tuned, method.virtual_host) {
            Ok(entered) => entered,
            Err(fault) => return self.refuse_open(now, until, &fault),
        };
        self.heartbeat.interval = Duration::from_secs(tuned.heartbeat.into());
        self.heartbeat.last_sent = now;
        let session = self.session(now, tuned, entered);
        session.tell_created();
        self.phase = Phase::Open(Box::new(session));
        frame::put_method(self.output.buffer(), 0, &connection::OpenOk { reserved_1: "" });
    }

    /// Lets the user into the vhost: RabbitMQ's checks in RabbitMQ's order.
    fn enter(&self, login: Login, tuned: &connection::TuneOk, name: &str) -> Result<Entered, Fault> {
        // The user may have changed between login and here.
        let users_version = self.door.broker.users.version();
        let Some(user) = self.door.broker.users.user(&login.user.name) else {
            let (vhost, user) = (name.to_owned(), login.user.name.to_string());
            return Err(Fault::VhostRefused { vhost, user });
        };
        let login = Login { user, ..login };
        let limit = self.door.settings.connections_max;
        if limit != 0 && self.door.broker.connections.len() >= limit {
            return Err(Fault::NodeConnectionLimit(limit as u64));
        }
        let vhost = self.door.broker.vhost(name).map_err(|refusal| fault_of(refusal, name))?;
        let user = login.user.name.to_string();
        let limits =
            Limits { of_vhost: vhost.settings.connections_max(), of_user: login.user.limit(MAX_CONNECTIONS) };
        // RabbitMQ looks at limits first.
        let checked = self.door.broker.connections.check(name, &user, &limits);
        checked.map_err(|reached| limit_fault(reached, name, user.clone()))?;
        if !login.user.enters(name) {
            return Err(Fault::VhostRefused { vhost: name.to_owned(), user });
        }
        let (id, outlet) = (self.door.broker.core.ids.connection(), Arc::<Outlet>::default());
        let info = Arc::new(self.info(id, &login, vhost.name.clone(), tuned, &outlet));
        let admitted = self.door.broker.connections.admit(info.clone(), &limits);
        admitted.map_err(|reached| limit_fault(reached, name, user))?;
        // A vhost or a user that was deleted meanwhile did not see this connection.
        if vhost.settings.is_gone() {
            outlet.push(Event::Close { reason: format!("vhost '{name}' is deleted") });
        } else if self.door.broker.users.user(&login.user.name).is_none() {
            outlet.push(Event::Close { reason: format!("user '{}' is deleted", login.user.name) });
        }
        Ok(Entered { login, users_version, vhost, id, outlet, info })
    }

    fn session(&self, now: Instant, tuned: &connection::TuneOk, entered: Entered) -> Session {
        let Entered { login, users_version, vhost, id, outlet, info } = entered;
        Session {
            door: self.door.clone(),
            id,
            vhost,
            user: login.user,
            users_version,
            outlet,
            info,
            channels: Channels::default(),
            frame_max: tuned.frame_max,
            channel_max: tuned.channel_max,
            capabilities: login.capabilities,
            exclusive: Vec::new(),
            waiting: None,
            commits: Vec::new(),
            relief: None,
            partial: None,
            hold: None,
            generations: 0,
            tick_at: now + self.door.settings.consumer_tick,
            alarm: Alarm::Unconcerned,
            tally: Tally::default(),
            waker: Waker::noop().clone(),
            close_asked: None,
        }
    }

    /// What others may know of the connection.
    fn info(
        &self,
        id: ConnectionId,
        login: &Login,
        vhost: Arc<str>,
        tuned: &connection::TuneOk,
        outlet: &Arc<Outlet>,
    ) -> ConnectionInfo {
        ConnectionInfo {
            id,
            protocol: "AMQP 0-9-1",
            peer: self.ends.peer,
            local: self.ends.local,
            tls: self.ends.tls.clone(),
            user: login.user.name.clone(),
            vhost,
            client_properties: login.client_properties.clone(),
            auth_mechanism: login.mechanism.clone(),
            connected_at_ms: self.door.broker.core.clock.now_ms(),
            channel_max: tuned.channel_max,
            frame_max: tuned.frame_max,
            heartbeat_s: tuned.heartbeat,
            outlet: outlet.clone(),
            blocked: std::sync::atomic::AtomicBool::default(),
            held_up_ms: std::sync::atomic::AtomicI64::default(),
            channels: parking_lot::Mutex::default(),
        }
    }

    /// `connection.open` is refused.
    fn refuse_open(&mut self, now: Instant, until: Instant, fault: &Fault) {
        self.phase = Phase::Start { until };
        self.fail(now, 0, fault, MethodId { class: 10, method: 40 });
    }
}

fn limit_fault(reached: LimitReached, vhost: &str, user: String) -> Fault {
    match reached {
        LimitReached::User(limit) => Fault::UserConnectionLimit { user, limit },
        LimitReached::Vhost(limit) => Fault::VhostConnectionLimit { vhost: vhost.to_owned(), user, limit },
    }
}

/// Whether a peer that is not through the handshake hears of it.
pub(super) fn is_told_to_strangers(reply: &Reply) -> bool {
    // Logins and vhosts; and a server that goes down.
    matches!(reply.code, 320 | 403 | 530)
}
