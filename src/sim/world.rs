//! What a run happens in: the random numbers, the clock, the store, the broker. It can crash.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    amqp,
    broker::{
        Broker,
        auth::{Permissions, User},
        recovery::Settings,
        vhost::Vhost,
    },
    clock::Clock,
    store::{Durability, Image, Options, Store, Ticket},
};

/// When a run begins, domain time.
const START_MS: i64 = 1_700_000_000_000;

/// Made once: compiling the patterns takes longer than a crash.
static GUEST: LazyLock<User> = LazyLock::new(|| {
    let all = Permissions::new(".*", ".*", ".*").unwrap();
    User::new("guest", "guest", &[], true).with_permissions("/", all)
});

/// A broker on a manual clock and a store in memory.
pub(super) struct World {
    pub(super) rng: StdRng,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) broker: Arc<Broker>,
    pub(super) amqp: Arc<amqp::Door>,
    options: Options,
    /// What the bodies of this run are like: large ones make queues page.
    pub(super) padding_max: usize,
    /// How often the broker has been started.
    pub(super) life: u32,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let options = options(&mut rng);
        let padding_max = *[16, 64, 1_000].choose(&mut rng).expect("not empty");
        let clock = Clock::manual(START_MS);
        let store = Store::manual(options.clone());
        let broker = recover(&store, &clock, &mut rng);
        let amqp = door(&broker);
        Self { rng, clock, store, broker, amqp, options, padding_max, life: 0 }
    }

    /// True in `percent` of all cases.
    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.rng).expect("something to pick from").clone()
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    pub(super) fn vhost(&self) -> Arc<Vhost> {
        self.broker.vhost("/").unwrap()
    }

    /// One turn of the store, if anything waits for one.
    pub(super) fn turn(&self) -> bool {
        self.store.step(self.clock.now())
    }

    /// All turns that wait.
    pub(super) fn settle(&self) {
        while self.turn() {}
    }

    /// Time passes, and the background does what is due by then.
    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.broker.on_deadlines(self.clock.now_ms());
        self.turn();
        for sparse in self.store.sparse_segments() {
            self.broker.move_out_of(sparse.segment);
        }
    }

    /// What was submitted so far is durable with this.
    pub(super) fn submitted(&self) -> Ticket {
        self.store.submitted_to()
    }

    /// The disk has no room, or checkpoints fail, until [`World::heal`].
    pub(super) fn fault(&mut self) {
        if self.chance(50) {
            self.store.fill_disk(true);
        } else {
            let keys = self.below(20);
            self.store.fail_checkpoints(Some(keys));
        }
    }

    pub(super) fn heal(&self) {
        self.store.fill_disk(false);
        self.store.fail_checkpoints(None);
    }

    /// The power fails; the broker starts again on what the disk kept. Everything in memory is gone, and the store's
    /// callbacks with it.
    pub(super) fn crash(&mut self) {
        let image = self.store.crash(self.rng.random()).expect("a manual store can crash");
        self.start(image);
    }

    /// A clean end and a new start. The connections are closed already.
    pub(super) fn restart(&mut self) {
        self.settle();
        super::ready(self.store.close()).expect("nothing fails here").unwrap();
        let image = self.store.crash(self.rng.random()).expect("a manual store can crash");
        self.start(image);
    }

    fn start(&mut self, image: Image) {
        self.life += 1;
        self.store = Store::open_on(image, self.options.clone()).expect("what a crash leaves can be opened");
        let before = Arc::downgrade(&self.broker.core);
        self.broker = recover(&self.store, &self.clock, &mut self.rng);
        self.amqp = door(&self.broker);
        assert_eq!(before.strong_count(), 0, "something holds the broker that was, for ever");
    }
}

/// Thousands of runs happen in one process: what waits in the store holds the broker, and that the store.
impl Drop for World {
    fn drop(&mut self) {
        self.store.abandon();
    }
}

fn door(broker: &Arc<Broker>) -> Arc<amqp::Door> {
    amqp::Door::new(broker.clone(), amqp::Settings::of(broker.core.profile))
}

/// Small segments and turns, so that a short run meets the end of many.
fn options(rng: &mut StdRng) -> Options {
    Options {
        turn_bytes_max: *[512, 4 << 10, 64 << 10].choose(rng).expect("not empty"),
        segment_bytes: 32 << 10,
        first_segment_bytes: 16 << 10,
        idle_after_ms: 2_000,
        ..Options::new("", Durability::Fsync)
    }
}

fn recover(store: &Store, clock: &Clock, rng: &mut StdRng) -> Arc<Broker> {
    let settings = Settings {
        profile: &crate::broker::profile::V4_2,
        clock: clock.clone(),
        memory_limit_bytes: usize::MAX >> 1,
        runtime: None,
        tail_bytes_max: *[0, 4 << 10, 1 << 20].choose(rng).expect("not empty"),
        groups: crate::broker::group::Settings::default(),
        producers: crate::broker::txn::Settings::default(),
    };
    let broker = Broker::recover(store.clone(), settings).expect("what a crash leaves can be recovered");
    broker.users.put(GUEST.clone());
    broker
}
