//! PUSH and requests of the ZeroMQ door under kills: what was answered `OK` is on disk, and what a peer has sent is there
//! in order, without a gap, up to where the log ends.
//!
//! PUSH is told nothing, so only how its messages lie is known. Both go into one queue, of which a PULL takes everything
//! after the restart; what it has had may come again after the next kill, for nobody waits for that to be written.

use std::{collections::VecDeque, io, net::SocketAddr, sync::Mutex};

use crate::support::{Seeded, zmq::Zmq};

/// PUSH and requests into the same queue.
pub(crate) const OPTIONS: &[&str] = &["--set", "zmq.mapping.queue=zmq.req"];

/// Requests that are not answered yet.
const UNDER_WAY_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    /// The first number of this round, of either kind.
    first: u64,
    answered_total: u64,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    pushed: u64,
    requested: u64,
    answered: u64,
}

/// What a message begins with: who sent it.
const PUSHED: &str = "pushed";
const REQUESTED: &str = "requested";
const END: &str = "end";

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, first: 0, answered_total: 0, round: Mutex::default() }
    }

    pub(crate) fn answered_total(&self) -> u64 {
        self.answered_total
    }

    /// Pushes and requests until the broker is gone.
    pub(crate) fn work(&self, seed: u64) {
        // The end is always an error: the kill.
        let _ = self.send(seed);
    }

    fn send(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed ^ 0x2E20);
        let mut push = Zmq::connect(self.address, "PUSH")?;
        let mut requester = Zmq::connect(self.address, "DEALER")?;
        let mut under_way = VecDeque::new();
        let (mut pushed, mut requested) = (self.first, self.first);
        loop {
            for _ in 0..random.below(4) {
                self.note(|round| round.pushed += 1);
                let (number, size) = (pushed.to_string(), usize::try_from(random.below(3_000)).unwrap_or(0));
                push.send(&[PUSHED.as_bytes(), number.as_bytes(), &vec![b'x'; size]])?;
                pushed += 1;
            }
            self.note(|round| round.requested += 1);
            let number = requested.to_string();
            requester.send(&[number.as_bytes(), b"", REQUESTED.as_bytes(), number.as_bytes(), b""])?;
            under_way.push_back(requested);
            requested += 1;
            if under_way.len() < UNDER_WAY_MAX {
                continue;
            }
            let answer = requester.receive()?;
            let expected = under_way.pop_front().map(|number| number.to_string().into_bytes());
            assert_eq!(answer, [expected.unwrap_or_default(), Vec::new(), b"OK".to_vec()]);
            self.note(|round| round.answered += 1);
        }
    }

    fn note(&self, change: impl FnOnce(&mut Round)) {
        change(&mut self.round.lock().expect("not poisoned"));
    }

    /// Takes everything that is there after the restart and compares.
    pub(crate) fn verify(&mut self, round: u32) {
        let seen = std::mem::take(self.round.get_mut().expect("not poisoned"));
        let found = self.take(round).expect("the broker is up again");
        let of = |kind: &str| -> Vec<u64> {
            let numbers = found.iter().filter(|(of, _)| of == kind).map(|(_, number)| *number);
            numbers.filter(|number| *number >= self.first).collect()
        };
        let (pushed, requested) = (of(PUSHED), of(REQUESTED));
        for (kind, numbers, least, most) in
            [(PUSHED, pushed, 0, seen.pushed), (REQUESTED, requested, seen.answered, seen.requested)]
        {
            let stranger = (self.first..).zip(&numbers).find(|(expected, number)| expected != *number);
            assert_eq!(
                stranger, None,
                "round {round}: {kind} messages have a gap, or another order (expected, found)"
            );
            let count = numbers.len() as u64;
            assert!(
                (least..=most).contains(&count),
                "round {round}: {count} {kind} messages of {most}, {least} of them answered"
            );
        }
        self.first += seen.pushed.max(seen.requested);
        self.answered_total += seen.answered;
    }

    /// All messages: their kinds and numbers.
    fn take(&self, round: u32) -> io::Result<Vec<(String, u64)>> {
        let (end, mut found) = (round.to_string(), Vec::new());
        Zmq::connect(self.address, "PUSH")?.send(&[END.as_bytes(), end.as_bytes(), b""])?;
        let mut pull = Zmq::connect(self.address, "PULL")?;
        loop {
            let message = pull.receive()?;
            let [kind, number, _] = message.as_slice() else {
                panic!("a message of {} parts", message.len())
            };
            let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            let (kind, number) = (text(kind), text(number));
            if kind == END && number == end {
                // Or it would be given what the next round sends.
                pull.close()?;
                return Ok(found);
            }
            found.push((kind, number.parse().expect("messages are numbered")));
        }
    }
}
