//! Everything that is worked at, and what is known of it: clients of every door run until something ends them all, and
//! what is there afterwards is compared. Benches soak with it, too.

use crate::{
    dead_letter, queue, redis,
    support::{Seeded, broker::Doors},
    topic, topology, zmq,
};

#[derive(Debug)]
pub(crate) struct Models {
    queue: queue::Model,
    dead_letter: dead_letter::Model,
    topic: topic::Model,
    topology: topology::Model,
    redis: redis::Model,
    zmq: zmq::Model,
}

/// What the broker is started with.
pub(crate) const OPTIONS: &[&str] = zmq::OPTIONS;

impl Models {
    pub(crate) fn new(doors: Doors) -> Self {
        Self {
            queue: queue::Model::new(doors.amqp),
            dead_letter: dead_letter::Model::new(doors.amqp),
            topic: topic::Model::new(doors.kafka),
            topology: topology::Model::new(doors.amqp, doors.admin),
            redis: redis::Model::new(doors.redis),
            zmq: zmq::Model::new(doors.zmq),
        }
    }

    /// Work under way, and in the middle of it `end`, which must end every connection.
    pub(crate) fn work(&mut self, seed: u64, end: impl FnOnce()) {
        let Self { queue, dead_letter, topic, topology, redis, zmq } = self;
        std::thread::scope(|scope| {
            let (publish, consume) = queue.work(seed);
            let (bury, refuse) = dead_letter.work(seed);
            let mut workers = vec![
                scope.spawn(publish),
                scope.spawn(consume),
                scope.spawn(bury),
                scope.spawn(refuse),
                scope.spawn(|| topic.work(seed)),
                scope.spawn(|| topology.work(seed)),
                scope.spawn(|| zmq.work(seed)),
            ];
            workers.extend(redis.work(seed).map(|work| scope.spawn(work)));
            end();
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        queue.merge();
        dead_letter.merge();
    }

    /// Compares what is there with what was said; fails where something is not as it must be.
    pub(crate) fn verify(&mut self, round: u32, moments: &mut Seeded) {
        self.queue.verify(round, moments.next());
        self.dead_letter.verify(round);
        self.topic.verify(round);
        self.topology.verify(round);
        self.redis.verify(round);
        self.zmq.verify(round);
    }

    /// At the end, what was compared in pieces once more as a whole.
    pub(crate) fn verify_from_the_start(&self) {
        self.topic.verify_from_the_start();
    }

    /// What was confirmed so far, of each kind.
    pub(crate) fn confirmed(&self) -> [(&'static str, u64); 6] {
        [
            ("messages", self.queue.confirmed_total()),
            ("dead letters", self.dead_letter.confirmed_total()),
            ("records", self.topic.confirmed_total()),
            ("changes of the topology", self.topology.answered_total()),
            ("elements of lists", self.redis.answered_total()),
            ("requests", self.zmq.answered_total()),
        ]
    }
}
